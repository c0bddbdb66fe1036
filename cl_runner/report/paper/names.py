"""Names as papers write them, and a file of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cl_runner.errors import ConfigError
from cl_runner.metrics import METRICS
from cl_runner.report.paper.keys import BUFFER_SIZE, DATASET, NAMED, RUN, SCENARIO, STRATEGY
from cl_runner.run_folder.plain import Damaged, content, decoding, of_yaml

STRATEGIES = {
    "finetune": "Fine-tuning",
    "l2": "L2",
    "ewc": "EWC",
    "si": "SI",
    "mas": "MAS",
    "rwalk": "RWalk",
    "lwf": "LwF",
    "kd": "KD",
    "gem": "GEM",
    "agem": "A-GEM",
    "rehearsal": "ER",
    "rehearsal_kd": "ER + KD",
    "er_ace": "ER-ACE",
    "gss": "GSS",
    "fdr": "FDR",
    "der": "DER",
    "derpp": "DER++",
    "dgr": "DGR",
    "generative_classifier": "Generative classifier",
    "icarl": "iCaRL",
    "bic": "BiC",
    "wa": "WA",
    "gdumb": "GDumb",
    "ncm": "NCM",
    "slda": "SLDA",
    "ranpac": "RanPAC",
    "separate": "Separate networks",
    "joint": "Joint",
}
DATASETS = {
    "digits": "Digits",
    "split_mnist": "Split MNIST",
    "permuted_mnist": "Permuted MNIST",
    "rotated_mnist": "Rotated MNIST",
    "split_fashion_mnist": "Split Fashion-MNIST",
    "fashion_mnist_6_4": "Fashion-MNIST 6 + 4",
    "mnist_to_fashion": "MNIST to Fashion-MNIST",
    "gtsrb": "GTSRB",
    "gtsrb_43": "GTSRB (43 classes)",
    "split_cifar10": "Split CIFAR-10",
    "split_cifar100": "Split CIFAR-100",
    "split_svhn": "Split SVHN",
    "split_kmnist": "Split KMNIST",
    "split_emnist": "Split EMNIST",
    "split_tiny_imagenet": "Split Tiny ImageNet",
    "split_omniglot": "Split Omniglot",
    "five_datasets": "5-datasets",
    "image_folder": "Image folder",
    "arrays": "Arrays",
    "csv": "CSV",
    "avalanche": "Avalanche benchmark",
    "regression_fourier": "Regression (Fourier)",
    "regression_polynomial": "Regression (polynomial)",
    "regression_rbf": "Regression (RBF)",
    "regression_sigmoid": "Regression (sigmoid)",
}
SCENARIOS = {
    "task_incremental": "Task-IL",
    "domain_incremental": "Domain-IL",
    "class_incremental": "Class-IL",
}
OTHERS = {
    "mlp": "MLP",
    "cnn": "CNN",
    "cnn_leaky": "CNN (leaky)",
    "resnet18": "ResNet-18",
    "torchvision": "torchvision",
    "timm": "timm",
    "wrapped": "own",
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "adagrad": "AdaGrad",
    "torch": "of torch",
}
TITLES = {
    STRATEGY: "Method",
    RUN: "Run",
    DATASET: "Data set",
    SCENARIO: "Scenario",
    BUFFER_SIZE: "Buffer",
    "model": "Network",
    "optimizer": "Optimizer",
}
HEADINGS = {"average_accuracy": "Accuracy", "average_mse": "MSE"}
NAMES = {**STRATEGIES, **DATASETS, **SCENARIOS, **OTHERS}
ORDER = tuple(NAMES)
LIMIT = 2**20


class Labels:
    """How a table writes names. own: of a user, for `KEY=VALUE`, a value, a key or a metric."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self.own = own or {}

    def key(self, key: str) -> str:
        """The heading of a setting."""
        return self.own.get(key) or TITLES.get(key) or key.rpartition(".")[2]

    def metric(self, name: str) -> str:
        title = METRICS[name].title.replace("mse", "MSE")
        return self.own.get(name) or title[:1].upper() + title[1:]

    def heading(self, name: str) -> str:
        """A metric above its columns, where the caption has its whole name."""
        return self.own.get(name) or HEADINGS.get(name) or self.metric(name)

    def value(self, key: str, value: str | None) -> str:
        """The value of a setting; a dash for None."""
        if value is None:
            return "–"
        known = NAMES.get(value, value) if key in NAMED else value
        return self.own.get(f"{key}={value}") or self.own.get(value) or known

    def both(self, key: str, value: str | None) -> str:
        """The value, with its key unless it is a name: `Buffer 200`, `Class-IL`."""
        named = key in NAMED
        if named or (value and (f"{key}={value}" in self.own or value in self.own)):
            return self.value(key, value)
        return f"{self.key(key)} {self.value(key, value)}"


def read(file: Path) -> Labels:
    """The labels in a YAML file of `name: text`. Raises ConfigError for anything else."""
    try:
        with decoding(file):
            node = of_yaml(content(file, LIMIT))
    except Damaged as damaged:
        number = "not text" in damaged.reason
        hint = "put a name that is a number in quotes" if number else "write lines as name: text"
        raise ConfigError.of("--labels", file, damaged.reason, hint) from None
    if not isinstance(node, dict):
        raise ConfigError.of("--labels", file, "must hold lines of the form name: text")
    for name, text in node.items():
        if isinstance(text, dict | list) or text is None or not str(text).strip():
            raise ConfigError.of("--labels", file, f"{name}: must be a text")
    return Labels({name: str(text) for name, text in node.items()})
