"""NCM, SLDA and RanPAC against closed forms on all samples at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from running import composed, logged, run_here
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid
from test_mixed_streams import STREAMS, stream_of
from tiny import tiny_network, tiny_stream

from cl_runner.data.likelihood import GAUSSIAN
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError, Diverged
from cl_runner.evaluation.predict import outputs
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network
from cl_runner.strategies.closed_form import LOWEST, ClosedForm
from cl_runner.strategies.ncm import NCM
from cl_runner.strategies.parts.class_means import ClassMeans
from cl_runner.strategies.ranpac import RIDGES, RanPAC
from cl_runner.strategies.slda import SLDA
from cl_runner.training.loop import Training

MAKE = {
    "ncm": lambda network: NCM(network),
    "slda": lambda network: SLDA(network, shrinkage=1e-4),
    "ranpac": lambda network: RanPAC(network, projection=40, ridge=0.5),
}
ORDERS = [[0, 1, 2], [2, 0, 1]]


def finished(strategy: ClosedForm, stream: Stream, order: list[int]) -> ClosedForm:
    """After all tasks, in this order."""
    strategy.begin_task(stream.tasks[0])
    for number in order:
        strategy.end_task(stream.tasks[number])
    return strategy.eval()


def features(network: Network, parts: list[Samples]) -> tuple[np.ndarray, np.ndarray]:
    """[N, D] and classes [N], of all samples of these parts at once."""
    with torch.no_grad():
        found = [network.eval().features(part.x).double() for part in parts]
    return torch.cat(found).numpy(), torch.cat([part.y for part in parts]).numpy()


def everything(strategy: ClosedForm, stream: Stream) -> tuple[np.ndarray, ...]:
    """Features and classes for training, features for the test, and the scores [N, C] there."""
    train, y = features(strategy.network, [task.train for task in stream.tasks])
    test, _ = features(strategy.network, stream.test)
    with torch.no_grad():
        scores = torch.cat([strategy.predict(part.x) for part in stream.test])
    return train, y, test, scores.double().numpy()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [None, *STREAMS])
def test_ncm_is_the_nearest_centroid(kind: str | None, order: list[int]) -> None:
    stream, network = (tiny_stream(), tiny_network()) if kind is None else stream_of(kind)
    x, y, test, scores = everything(finished(NCM(network), stream, order), stream)
    oracle = NearestCentroid().fit(x, y)
    distances = ((test[:, None] - oracle.centroids_) ** 2).sum(2)
    nearer = (test**2).sum(1, keepdims=True) - 2 * scores  # ‖φ − μ‖² = ‖φ‖² − 2 s
    np.testing.assert_allclose(nearer, distances, rtol=1e-4, atol=1e-5)
    assert (scores.argmax(1) == oracle.predict(test)).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [None, *STREAMS])
def test_slda_is_linear_discriminant_analysis(kind: str | None, order: list[int]) -> None:
    stream, network = (tiny_stream(), tiny_network()) if kind is None else stream_of(kind)
    shrinkage = 0.03
    strategy = finished(SLDA(network, shrinkage=shrinkage), stream, order)
    x, y, test, scores = everything(strategy, stream)
    classes = range(network.classes)
    mu = np.stack([x[y == c].mean(0) for c in classes])
    sigma = sum((y == c).sum() * np.cov(x[y == c].T, bias=True) for c in classes) / len(y)
    np.testing.assert_allclose(strategy.scatter / len(y), sigma, rtol=1e-9, atol=1e-12)
    precision = np.linalg.inv((1 - shrinkage) * sigma + shrinkage * np.eye(len(sigma)))
    expected = test @ precision @ mu.T - np.einsum("cd,de,ce->c", mu, precision, mu) / 2
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_slda_without_shrinkage_is_that_of_sklearn() -> None:
    """Which takes a share of the mean variance for ε, and the classes' shares as priors."""
    stream = tiny_stream()
    strategy = finished(SLDA(tiny_network(), shrinkage=1e-9), stream, ORDERS[0])
    x, y, test, scores = everything(strategy, stream)
    used = x.std(0) > 0.05  # a unit that is never active has no variance
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(x[:, used], y)
    assert (scores.argmax(1) == oracle.predict(test[:, used])).mean() > 0.99


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [None, *STREAMS])
def test_ranpac_is_ridge_regression_on_random_features(kind: str | None, order: list[int]) -> None:
    stream, network = (tiny_stream(), tiny_network()) if kind is None else stream_of(kind)
    strategy = finished(RanPAC(network, projection=40, ridge=0.5), stream, order)
    x, y, test, scores = everything(strategy, stream)
    P = strategy.P.numpy()
    assert P.shape == (8, 40) and abs(P.mean()) < 0.2 and 0.85 < P.std() < 1.15
    h, h_test = np.maximum(x @ P, 0), np.maximum(test @ P, 0)
    oracle = Ridge(alpha=0.5, fit_intercept=False, solver="cholesky")
    expected = oracle.fit(h, np.eye(network.classes)[y]).predict(h_test)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_ranpac_chooses_the_ridge_on_a_fifth_of_the_task(monkeypatch) -> None:
    stream = tiny_stream()
    strategy = RanPAC(tiny_network(), projection=40, ridge=None)
    split: dict[int, Samples] = {}
    drawn = Task.random_training_samples
    monkeypatch.setattr(
        Task,
        "random_training_samples",
        lambda task, *given: split.setdefault(task.index, drawn(task, *given)),
    )
    strategy.begin_task(stream.tasks[0])
    chosen = []
    for task in stream.tasks:
        strategy.end_task(task)
        x, y = features(strategy.network, [split[task.index]])
        h, target = np.maximum(x @ strategy.P.numpy(), 0), np.eye(6)[y]
        errors = []
        for ridge in RIDGES:
            W = np.linalg.solve(h[:64].T @ h[:64] + ridge * np.eye(40), h[:64].T @ target[:64])
            errors.append(((h[64:] @ W - target[64:]) ** 2).mean())
        chosen.append(RIDGES[int(np.argmin(errors))])
        assert float(strategy.ridge) == strategy.logged["ridge"] == chosen[-1]
        assert sorted(split[task.index].index.tolist()) == sorted(task.train.index.tolist())
    assert RIDGES[0] < min(chosen) and max(chosen) < RIDGES[-1]  # something was to be chosen
    x, y, test, scores = everything(strategy, stream)
    h, h_test = np.maximum(x @ strategy.P.numpy(), 0), np.maximum(test @ strategy.P.numpy(), 0)
    oracle = Ridge(alpha=chosen[-1], fit_intercept=False).fit(h, np.eye(6)[y])
    np.testing.assert_allclose(scores, oracle.predict(h_test), rtol=1e-3, atol=1e-4)


def test_means_and_scatter_are_those_of_all_vectors_however_they_are_cut() -> None:
    """Also far from zero, where a difference of large sums would have no digit left."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(200, 3)) + 1e7
    y = draw.integers(0, 4, 200)
    running, scatter = ClassMeans(5, 3), torch.zeros(3, 3, dtype=torch.float64)
    for start, end in ((0, 1), (1, 2), (2, 90), (90, 90), (90, 200)):
        residuals = running.add(torch.tensor(vectors[start:end]), torch.tensor(y[start:end]))
        scatter += residuals.T @ residuals
    assert running.counts.tolist() == [*np.bincount(y), 0] and not running.means[4].any()
    means = np.stack([vectors[y == c].mean(0) for c in range(4)])
    np.testing.assert_allclose(running.means[:4], means, rtol=1e-15)
    centred = vectors - means[y]
    np.testing.assert_allclose(scatter, centred.T @ centred, rtol=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_a_class_without_a_sample_is_never_predicted(name: str) -> None:
    stream, strategy = tiny_stream(), MAKE[name](tiny_network())
    assert (strategy.eval().predict(stream.test[0].x) == LOWEST).all()
    strategy.begin_task(stream.tasks[0])
    for task in stream.tasks[:2]:
        strategy.end_task(task)
        scores = outputs(strategy, stream.test[2], task, 6)
        known = torch.arange(6) < task.seen
        assert (scores[:, ~known] == LOWEST).all() and (scores[:, known] > LOWEST).all()


@pytest.mark.parametrize(("strategy", "hint"), [
    (lambda network: SLDA(network, shrinkage=1e-300), "SLDA .* a larger strategy.shrinkage"),
    (lambda network: RanPAC(network, projection=9, ridge=1e-300), "RanPAC .* strategy.ridge"),
    (NCM, "NCM .* look at the features"),
])  # fmt: skip
def test_a_matrix_without_an_inverse_is_one_line(strategy, hint: str, monkeypatch) -> None:
    """Of features that are copies of each other, or not numbers."""
    one = lambda self, x: (9 * x.flatten(1)[:, :1]).round().abs().expand(-1, 8)  # noqa: E731
    none = lambda self, x: torch.full((len(x), 8), torch.nan)  # noqa: E731
    monkeypatch.setattr(Network, "features", none if strategy is NCM else one)
    stream, made = tiny_stream(), strategy(tiny_network())
    if isinstance(made, RanPAC):
        made.P.fill_(1.0)
    with pytest.raises(Diverged, match=f"diverged: after task 1 the weights of {hint}"):
        made.end_task(stream.tasks[0])


def test_features_may_be_far_from_zero(monkeypatch) -> None:
    """A constant that is added to each changes no distance."""
    stream, found = tiny_stream(), []
    near = Network.features
    for far in (0.0, 3000.0):
        monkeypatch.setattr(Network, "features", lambda self, x, far=far: near(self, x) + far)
        strategy = finished(NCM(tiny_network()), stream, ORDERS[0])
        parts = zip(stream.test, stream.tasks, strict=True)
        found.append([outputs(strategy, part, task, 6).argmax(1) for part, task in parts])
    same = [(a == b).double().mean() for a, b in zip(*found, strict=True)]
    assert min(same) > 0.97  # but for the digits that the features lose


@pytest.mark.parametrize("name", MAKE)
def test_each_sample_is_seen_once_and_the_network_stays(name: str, monkeypatch) -> None:
    stream, network = tiny_stream(crop_padding=2, flip=True), tiny_network(batch_norm=True)
    strategy = MAKE[name](network).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    strategy.begin_task(stream.tasks[0])
    seen = []
    of = Network.features
    monkeypatch.setattr(Network, "features", lambda self, x: seen.append(x) or of(self, x))
    strategy.end_task(stream.tasks[0])
    assert strategy.training and network.training
    once = torch.cat(seen).flatten(1).tolist()
    assert sorted(once) == sorted(stream.tasks[0].train.x.flatten(1).tolist())  # not augmented
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(tensor.requires_grad for tensor in strategy.buffers())


BUDGETS = {
    "steps": ["epochs=null", "steps=7"],
    "evaluated within": ["evaluate_every=1", "epochs=3", "log_every=1"],
    "early stopping": ["early_stopping=1", "evaluate_every=epoch", "accumulate=3"],
    "batches of one": ["batch_size=1", "model.batch_norm=true", "clip_gradient=1.0"],
    "large batches": ["batch_size=100000", "drop_last=true", "diagnose=probe"],
    "first-task cache": ["first_task_cache=cache", "optimizer=sgd", "scheduler=warm_up"],
    "saved each step": ["checkpoint.every_n_steps=1", "reset_optimizer=false", "keep=logits"],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_here(tmp_path_factory.mktemp("plain") / "run", *words())


def words() -> list[str]:
    return ["strategy=slda", "dataset.validation_fraction=0.2", "dataset.tasks=3",
            "model.widths=[12]"]  # fmt: skip


@pytest.mark.parametrize("kind", BUDGETS)
def test_no_budget_matters(kind: str, plain: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected, total = [], Training.total_steps
    monkeypatch.setattr(
        Training, "total_steps", lambda self: expected.append(total(self)) or expected[-1]
    )
    results = run_here(tmp_path / "run", *words(), *BUDGETS[kind])
    if "model.batch_norm=true" not in BUDGETS[kind]:
        assert results["accuracy"] == plain["accuracy"]
        assert results["accuracy_validation"] == plain["accuracy_validation"]
    assert expected == [0] == [results["cost"]["steps"]]
    assert results["cost"]["samples_backward"] == 0
    assert results["alarms"] == [] and results["accuracy_curve"] is None
    events = [(line["event"], line["task"]) for line in logged(tmp_path / "run")]
    assert events == [("evaluation", task) for task in range(3)]
    if "first_task_cache=cache" in BUDGETS[kind]:
        again = run_here(tmp_path / "again", *words(), *BUDGETS[kind])
        assert again["accuracy"] == plain["accuracy"] and list(Path("cache").glob("*.ckpt"))


@pytest.mark.parametrize("scenario", ["task_incremental", "domain_incremental"])
@pytest.mark.parametrize("name", MAKE)
def test_runs_in_other_scenarios(name: str, scenario: str, tmp_path: Path) -> None:
    small = ["strategy.projection=60"] if name == "ranpac" else []
    results = run_here(tmp_path / "run", f"strategy={name}", f"dataset.scenario={scenario}",
                       "dataset.samples_per_task=200", "dataset.tasks=3", *small)  # fmt: skip
    assert results["average_accuracy"] > 0.75
    if scenario == "domain_incremental":  # all classes have the same score: the first one wins
        assert results["accuracy_untrained"][0] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", MAKE)
def test_what_cannot_work_is_refused(name: str) -> None:
    network = tiny_network()
    network.likelihood = GAUSSIAN
    with pytest.raises(ConfigError, match="needs classes, and the targets"):
        MAKE[name](network)
    network = mlp((1, 4, 4), 6, widths=[8], activation="relu", batch_norm=False, init="default",
                  freeze_statistics=False, new_rows="zero", inserted_layer="random",
                  classifier="linear")  # fmt: skip
    with pytest.raises(ConfigError, match="a layer that is inserted after the first task"):
        MAKE[name](network)
    with pytest.raises(ConfigError, match="shrinkage=0"):
        composed("strategy=slda", "strategy.shrinkage=0.0")
