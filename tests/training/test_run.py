"""A whole run: the files it leaves, the alarm, and that observing changes nothing."""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from optimizer_steps import optimizer_steps
from running import NAMES, composed, final_state, logged, run_here, trained
from tiny import tiny_network

from cl_runner.config.paths import CONF
from cl_runner.config.targets import target
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.errors import Diverged, FolderInUse
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.lwf import LwF
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.training.cost import Cost
from cl_runner.training.phases import Phases
from cl_runner.training.run import build_strategy, run
from cl_runner.training.state import check_fits

FAST = ("epochs=2", "batch_size=64", "model.widths=[16]")
KEYS = {
    "schema", "experiment", "dataset", "model", "strategy", "optimizer", "seed", "conventions",
    "tasks", "accuracy", "accuracy_task_il", "average_accuracy", "average_incremental_accuracy",
    "overall_accuracy", "overall_incremental_accuracy", "learning_accuracy", "forgetting",
    "backward_transfer", "forward_transfer", "intransigence", "min_accuracy", "stability_gap",
    "alarms", "cost", "environment",
}  # fmt: skip


def contents(folder: Path) -> dict[Path, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {p: p.read_bytes() for p in files}


def test_the_run_folder_holds_the_contract(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", *FAST, "strategy=rehearsal_kd")
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"config.yaml", "metrics.jsonl", "results.json", "status.json", "log.txt",
                     "predictions.npz", "overrides.yaml", "checkpoint", ".lock"}  # fmt: skip
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "complete"
    times = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO task (\d)/5 \(classes ",
                       (tmp_path / "run" / "log.txt").read_text(), re.MULTILINE)  # fmt: skip
    assert times == ["1", "2", "3", "4", "5"]
    assert set(results) >= KEYS
    assert results["conventions"]["strategy.mixing"] == "convex"
    assert results["conventions"]["ce_scope"] == "seen"
    assert [task["classes"] for task in results["tasks"]] == [[2 * t, 2 * t + 1] for t in range(5)]
    assert all(results["accuracy"][t][k] is None for t in range(5) for k in range(t + 1, 5))
    assert set(results["cost"]["state_bytes"]) == {"memory", "teacher"}
    assert results["cost"]["state_bytes"]["memory"] == 200 * (
        64 + 3 * 8
    )  # picture; label, group, number


def test_any_metric_can_be_computed_from_the_predictions(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", *FAST, "dataset.class_order=[1,2,0,4,5,3,9,8,7,6]")
    stored = np.load(tmp_path / "run" / "predictions.npz")
    for t in range(5):
        for k in range(t + 1):
            labels = stored[f"labels_of_task_{k + 1}"]
            for suffix, matrix in (("", "accuracy"), ("_task_il", "accuracy_task_il")):
                predicted = stored[f"after_task_{t + 1}_on_task_{k + 1}{suffix}"]
                assert (predicted == labels).mean() == pytest.approx(results[matrix][t][k])


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_both_incremental_accuracies_count_what_they_say(scenario: str, tmp_path: Path) -> None:
    """Counted sample by sample in the predictions, with tasks of 6, 1 and 3 classes."""
    results = run_here(tmp_path / "run", *FAST, f"dataset.scenario={scenario}", "dataset.tasks=3",
                       "dataset.classes_per_task=[6,1,3]")  # fmt: skip
    stored = np.load(tmp_path / "run" / "predictions.npz")
    suffix = "_task_il" if scenario == "task_incremental" else ""
    over_tasks, over_samples = [], []
    for t in range(3):
        right, count, shares = 0, 0, []
        for k in range(t + 1):
            pairs = zip(
                stored[f"after_task_{t + 1}_on_task_{k + 1}{suffix}"].tolist(),
                stored[f"labels_of_task_{k + 1}"].tolist(),
                strict=True,
            )
            of_task = [predicted == label for predicted, label in pairs]
            right, count = right + sum(of_task), count + len(of_task)
            shares.append(sum(of_task) / len(of_task))
        over_tasks.append(sum(shares) / len(shares))
        over_samples.append(right / count)
    assert results["average_incremental_accuracy"] == pytest.approx(sum(over_tasks) / 3)
    assert results["overall_incremental_accuracy"] == pytest.approx(sum(over_samples) / 3)
    assert abs(sum(over_tasks) - sum(over_samples)) > 0.01  # they differ here


def test_a_line_tells_the_mean_of_each_term_since_the_last_line(tmp_path: Path) -> None:
    for every in (1, 3):
        run_here(tmp_path / str(every), *FAST, "strategy=lwf", f"log_every={every}")
    each, means = ([line for line in logged(tmp_path / n) if line["event"] == "step"] for n in "13")
    terms = {line["step"]: line["terms"] for line in each}
    assert list(terms) == list(range(1, len(terms) + 1))
    for before, line in pairwise([{"step": 0}, *means]):
        since = [terms[step] for step in range(before["step"] + 1, line["step"] + 1)]
        assert 1 <= len(since) <= 3 and line["terms"].keys() == since[0].keys()
        for name, mean in line["terms"].items():
            assert mean == pytest.approx(fmean(one[name] for one in since)), line


def test_what_a_run_costs_is_counted(tmp_path: Path) -> None:
    """Samples that pass the network or the teacher, twice through the data of each task; and once
    through the test samples of all tasks so far."""
    results = run_here(tmp_path / "run", *FAST, "strategy=lwf")
    train = [task["train"] for task in results["tasks"]]
    tests = list(accumulate(task["test"] for task in results["tasks"]))
    cost = results["cost"]
    assert cost["samples_backward"] == 2 * sum(train)
    assert cost["samples_forward"] == 2 * sum(train) + 2 * sum(train[1:]) + sum(tests)
    assert cost["steps"] == sum(2 * math.ceil(n / 64) for n in train)


@pytest.mark.parametrize("words", [["ncm"], ["icarl", "strategy.buffer_size=200"]])
def test_samples_of_which_only_features_are_used_cost_a_pass(words, tmp_path: Path) -> None:
    strategy, *own = words
    results = run_here(tmp_path / "run", *FAST, f"strategy={strategy}", *own, "epochs=1")
    train = [task["train"] for task in results["tasks"]]
    expected = sum(train) + sum(accumulate(task["test"] for task in results["tasks"]))
    if strategy == "icarl":  # also a step on each and on the exemplars, the teacher, and the means
        with_exemplars = [n + 200 * (number > 0) for number, n in enumerate(train)]
        expected += sum(with_exemplars) + sum(with_exemplars[1:]) + 200 * len(train)
    assert results["cost"]["samples_forward"] == expected


def test_seconds_and_peak_memory_are_over_all_attempts() -> None:
    strategy = Finetune(tiny_network())
    cost = Cost(strategy)
    earlier = {"seconds": 1000.0, "peak_memory_bytes": 10**15, "steps": 5, "samples_forward": 7,
               "samples_backward": 6}  # fmt: skip
    cost.load_state_dict(earlier)
    found = cost.summary()
    assert 1000 <= found.pop("seconds") < 1100 and found.pop("state_bytes") == {}
    assert found == {key: earlier[key] for key in found}


def test_metrics_are_one_line_an_event(tmp_path: Path) -> None:
    run_here(tmp_path / "run", *FAST, "strategy=lwf", "log_every=3")
    lines = logged(tmp_path / "run")
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["task"] for line in lines if line["event"] == "evaluation"] == list(range(5))
    assert set(steps[0]["terms"]) == {"task"}
    assert set(steps[-1]["terms"]) == {"task", "distillation"}
    assert all(line["loss"] == pytest.approx(sum(line["terms"].values())) for line in steps)
    assert [line["step"] for line in steps] == sorted({line["step"] for line in steps})


@pytest.mark.parametrize("strategy", ["finetune", "ewc", "rehearsal", "rehearsal_kd"])
def test_the_same_seed_gives_the_same_bits_however_it_is_watched(
    strategy: str, tmp_path: Path
) -> None:
    common = (*FAST, f"strategy={strategy}", "model.batch_norm=true", "batch_size=50")
    plain = run_here(tmp_path / "a", *common)
    watched = run_here(tmp_path / "b", *common, "evaluate_every=3", "log_every=1")
    other = run_here(tmp_path / "c", *common, "seed=1")
    predictions = [np.load(tmp_path / name / "predictions.npz") for name in "abc"]
    for key in predictions[0].files:
        assert np.array_equal(predictions[0][key], predictions[1][key])
    assert plain["accuracy"] == watched["accuracy"] != other["accuracy"]
    assert plain["min_accuracy"] is None
    assert watched["min_accuracy"] <= fmean(watched["accuracy"][4][:4])


def _task_losses(folder: Path) -> list[float]:
    return [line["terms"]["task"] for line in logged(folder) if line["event"] == "step"]


def test_learning_rate_zero_leaves_the_weights(tmp_path: Path) -> None:
    """The body ends with its initial weights."""
    common = (*FAST, "optimizer=sgd", "optimizer.lr=0", "model.new_rows=default")
    drawn = build_strategy(composed(*common)).network.body.state_dict()
    run_here(tmp_path / "run", *common)
    state = final_state(tmp_path / "run")["strategy"]
    assert len(drawn) == 2
    assert all(torch.equal(state[f"network.body.{name}"], p) for name, p in drawn.items())


def test_a_setting_may_differ_between_tasks(tmp_path: Path) -> None:
    """With a learning rate of 0 from the second task on, nothing is learned or forgotten."""
    results = run_here(tmp_path / "run", *FAST, "epochs=[3,1]", "optimizer.lr=[0.01,0]")
    assert results["accuracy_task_il"][0][0] == results["accuracy_task_il"][4][0]
    sizes = [task["train"] for task in results["tasks"]]
    expected = sum((3 if t == 0 else 1) * -(-n // 64) for t, n in enumerate(sizes))
    assert results["cost"]["steps"] == expected


@pytest.mark.parametrize("reset", [True, False])
def test_an_optimizer_is_fresh_at_each_task_or_keeps_its_momentum(
    reset: bool, tmp_path: Path
) -> None:
    with optimizer_steps() as steps:
        results = run_here(tmp_path / "run", *FAST, "optimizer=sgd", f"reset_optimizer={reset}")
    taken = [2 * math.ceil(task["train"] / 64) for task in results["tasks"]]
    first_steps = [steps[start].known for start in accumulate([0, *taken[:-1]])]
    assert sum(taken) == len(steps)
    assert first_steps == ([0] * 5 if reset else [0, 4, 6, 8, 10])  # a hidden layer, and rows


def test_domain_incremental_runs_tell_forward_transfer(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", *FAST, "dataset.scenario=domain_incremental")
    before, untrained = results["accuracy_before_learning"], results["accuracy_untrained"]
    expected = sum(b - u for b, u in zip(before[1:], untrained[1:], strict=True)) / 4
    assert results["forward_transfer"] == pytest.approx(expected)
    assert results["accuracy_task_il"] is None


def test_before_a_task_it_is_measured_what_the_network_knows_of_it(tmp_path: Path) -> None:
    """A network that learns nothing more has the same accuracy at the end of the task."""
    common = (*FAST, "dataset.scenario=domain_incremental", "optimizer=sgd")
    once = run_here(tmp_path / "once", *common, "optimizer.lr=[0.01,0]")
    never = run_here(tmp_path / "never", *common, "optimizer.lr=0")
    own = [[run["accuracy"][t][t] for t in range(5)] for run in (once, never)]
    assert once["accuracy_before_learning"] == [None, *own[0][1:]]
    assert once["accuracy_untrained"] == never["accuracy_untrained"] == own[1]
    assert len({*own[0]}) > 2


def test_intransigence_needs_a_reference_run(tmp_path: Path) -> None:
    joint = run_here(tmp_path / "joint", *FAST, "strategy=joint")
    own = run_here(tmp_path / "run", *FAST, f"reference={tmp_path / 'joint'}")
    gaps = [joint["accuracy"][t][t] - own["accuracy"][t][t] for t in range(5)]
    assert own["intransigence"] == pytest.approx(sum(gaps) / 5)
    assert joint["intransigence"] is None


def test_validation_accuracy_is_of_held_out_training_samples(tmp_path: Path) -> None:
    settings = (*FAST, "dataset.validation_fraction=0.2")
    results = run_here(tmp_path / "run", *settings)
    strategy = trained(tmp_path / "run", *settings)
    tasks = composed(*settings).dataset.load(seed=0, scope="seen", device="cpu").tasks
    predicted = [strategy.predict(task.validation.x).argmax(1) for task in tasks]
    right = [(p == t.validation.y).double().mean() for p, t in zip(predicted, tasks, strict=True)]
    assert results["accuracy_validation"][-1] == pytest.approx([share.item() for share in right])
    assert [len(row) for row in results["accuracy_validation"]] == [5] * 5
    sizes = [(len(task.train), len(task.validation)) for task in tasks]
    assert [task["train"] for task in results["tasks"]] == [kept for kept, _ in sizes]
    assert all(0.15 < held / (kept + held) < 0.25 for kept, held in sizes)


class InertLwF(LwF):
    """The fault of a published package: the student's logits computed without a gradient."""

    def objective(self, batch):
        logits = self.network(batch.x)
        terms = {"task": task_loss(logits, batch)}
        if batch.task.first:
            return terms
        with torch.no_grad():
            return terms | {"distillation": super().objective(batch)["distillation"]}


class ZeroLwF(LwF):
    """Another: a term with a graph but no value."""

    def objective(self, batch):
        terms = super().objective(batch)
        return terms | {n: 0 * t for n, t in terms.items() if n == "distillation"}


@pytest.mark.parametrize("planted", [InertLwF, ZeroLwF])
def test_an_inert_term_raises_the_alarm(planted, tmp_path, capfd) -> None:
    settings = composed(*FAST, "strategy=lwf", "dataset.tasks=3")
    settings = replace(settings, strategy=replace(settings.strategy, target=planted))
    results = run(settings, tmp_path / "run", config={}, names={**NAMES, "strategy": "lwf"})
    printed = capfd.readouterr().err
    assert len(results.alarms) == 2  # tasks 2 and 3
    for words in ("strategy lwf", "'distillation'", "task 2"):
        assert words in results.alarms[0]
        assert words in (tmp_path / "run" / "log.txt").read_text()
        assert words in printed
    terms = [x["term"] for x in logged(tmp_path / "run") if x["event"] == "alarm"]
    assert terms == ["distillation"] * 2


@pytest.mark.parametrize(
    "strategy",
    ["finetune", "joint", "lwf", "kd", "ewc", "rehearsal", "rehearsal_kd", "si", "gdumb"],
)
def test_a_strategy_that_works_raises_no_alarm(strategy: str, tmp_path: Path) -> None:
    assert run_here(tmp_path / "run", *FAST, f"strategy={strategy}")["alarms"] == []


def test_a_penalty_of_weight_zero_is_told(tmp_path: Path) -> None:
    alarms = run_here(tmp_path / "run", *FAST, "strategy=ewc", "strategy.weight=0.0")["alarms"]
    assert len(alarms) == 4 and "'ewc'" in alarms[0]


def test_divergence_stops_before_the_weights_change(tmp_path: Path) -> None:
    with optimizer_steps() as steps, pytest.raises(Diverged, match="task 1, epoch 1") as stop:
        run_here(tmp_path / "run", *FAST, "optimizer=sgd", "optimizer.lr=1e18")
    (number,) = re.findall(r"step (\d+) ", str(stop.value))
    assert len(steps) == int(number) - 1 > 0
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["error"]) == ("failed", str(stop.value))
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    run_here(tmp_path / "run", *FAST)
    before = contents(tmp_path / "run")
    with pytest.raises(FolderInUse):
        run_here(tmp_path / "run", *FAST, "seed=1")
    assert contents(tmp_path / "run") == before
    assert logging.getLogger("cl_runner").handlers == []


PHASE = "cl_runner.training.settings.Phase"
PHASES = (
    f"later_phases=[{{_target_:{PHASE},epochs:2,layers:head,weight_decay:null}},"
    f"{{_target_:{PHASE},epochs:1,layers:all,weight_decay:0.5}}]"
)


def test_a_task_may_be_learned_in_phases(tmp_path: Path) -> None:
    """The first only trains the head; each has a new optimizer and its own weight decay."""
    arguments = ("epochs=1", "batch_size=150", "model.widths=[8]", "dataset.tasks=2",
                 "optimizer=sgd", "strategy=lwf")  # fmt: skip
    with optimizer_steps() as steps:
        results = run_here(tmp_path / "run", *arguments, PHASES)
    own = composed(*arguments).optimizer.settings["weight_decay"]
    assert results["cost"]["steps"] == len(steps) == 8 and results["alarms"] == []
    # Two steps an epoch: the first task has one, the phases of the second two and one.
    for number, (fresh, body_rests, decay) in enumerate([
        (True, False, own), (False, False, own),
        (True, True, own), (False, True, own), (False, True, own), (False, True, own),
        (True, False, 0.5), (False, False, 0.5),
    ]):  # fmt: skip
        step = steps[number]
        rests = [torch.equal(a, b) for a, b in zip(step.before, step.after, strict=True)]
        of_body = [r for r, p in zip(rests, step.after, strict=True) if len(p) == 8]
        assert of_body == [body_rests] * 2 and not all(rests), number
        assert (step.known == 0, step.settings["weight_decay"]) == (fresh, decay), number


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    """As torch's own scheduler sets it when GDumb's training loop steps it: an epoch at a tenth,
    one at the full rate, then a step an epoch."""
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", "epochs=17", "batch_size=400", "model.widths=[4]",
                 "dataset.tasks=2", "optimizer=sgd", "optimizer.lr=[0.4,0.2]",
                 "scheduler=cosine_warm_restarts", "scheduler.min_lr=0.01")  # fmt: skip
    rates = [step.settings["lr"] for step in steps]  # one step an epoch
    for base, used in ((0.4, rates[:17]), (0.2, rates[17:])):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, T_0=1, T_mult=2, eta_min=0.01
        )
        expected = [base / 10, base]
        for _ in range(15):
            optimizer.step()
            scheduler.step()
            expected.append(optimizer.param_groups[0]["lr"])
        assert used == pytest.approx(expected)


def test_a_gradient_is_clipped_to_its_norm(tmp_path: Path) -> None:
    """With a rate of 1 and no momentum a step is as long as its gradient."""
    common = ("epochs=1", "batch_size=100", "model.widths=[8]", "optimizer=sgd",
              "optimizer.lr=1", "optimizer.momentum=0", "dataset.tasks=2")  # fmt: skip
    lengths = {}
    for clip in ("0.01", "null"):
        with optimizer_steps() as steps:
            run_here(tmp_path / clip, *common, f"clip_gradient={clip}")
        ways = [torch._foreach_sub(step.after, step.before) for step in steps]
        lengths[clip] = [torch.cat([w.flatten() for w in way]).norm().item() for way in ways]
    assert lengths["0.01"] == pytest.approx([0.01] * 6, rel=1e-3)
    assert min(lengths["null"]) > 0.02


def test_an_evaluation_after_each_epoch(tmp_path: Path) -> None:
    """One per epoch, one after each task; the last one in a task has the same weights as that."""
    results = run_here(tmp_path / "run", "epochs=[2,3]", "batch_size=64", "model.widths=[8]",
                       "optimizer.lr=0.01", "dataset.tasks=2", "evaluate_every=epoch")  # fmt: skip
    curve = results["accuracy_curve"]
    assert [point["task"] for point in curve] == [0] * (2 + 1) + [1] * (3 + 1)
    assert curve[1] == curve[2] and curve[5] == curve[6] != curve[3]
    assert curve[6]["accuracy"] == results["accuracy"][1]
    steps = [line["step"] for line in logged(tmp_path / "run") if line["event"] == "within_task"]
    batches = [-(-task["train"] // 64) for task in results["tasks"]]
    assert steps == [
        batches[0],
        2 * batches[0],
        *(2 * batches[0] + n * batches[1] for n in (1, 2, 3)),
    ]
    plain = run_here(tmp_path / "plain", "epochs=1", "batch_size=64", "dataset.tasks=2")
    assert plain["accuracy_curve"] is None


class Counting(Finetune):
    """Logs the number of each step of an epoch, and something that is not finite."""

    def after_step(self, batch: Batch) -> None:
        self.log("number", torch.tensor(float(batch.position[-1])))
        if batch.position[-1] == 1:
            self.log("seldom", 5)
        self.log("never", math.inf)

    def end_task(self, task: Task) -> None:
        self.log("at_the_end", task.index)


def test_a_strategys_own_numbers_are_logged_as_means_since_the_last_line(tmp_path: Path) -> None:
    settings = composed(*FAST, "batch_size=30", "epochs=1", "log_every=3", "dataset.tasks=2")
    settings = replace(settings, strategy=replace(settings.strategy, target=Counting))
    run(settings, tmp_path / "run", config={}, names=NAMES)
    lines = logged(tmp_path / "run")
    own = [line for line in lines if line["event"] == "strategy"]
    first = [line["values"] for line in own if line["task"] == 0]
    plain = run_here(tmp_path / "plain", *FAST, "batch_size=30", "epochs=1", "log_every=3",
                     "dataset.tasks=2")  # fmt: skip
    steps = math.ceil(plain["tasks"][0]["train"] / 30)
    numbers = [range(start, min(start + 3, steps)) for start in range(0, steps, 3)]
    assert [values["number"] for values in first[:-1]] == [sum(n) / len(n) for n in numbers]
    assert [values.get("seldom") for values in first] == [5.0] + [None] * len(numbers)
    assert first[-1] == {"at_the_end": 0.0}
    assert [line["step"] for line in own][:1] == [3] and own[-1]["values"] == {"at_the_end": 1.0}
    assert [line for line in lines if line["event"] != "strategy"] == logged(tmp_path / "plain")
    assert plain["alarms"] == []


@target
def amsgrad(parameters, task: int, *, lr: float, **_: object) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, amsgrad=True)


def test_the_state_of_an_optimizer_with_more_in_it_fits(tmp_path: Path) -> None:
    settings = composed(*FAST)
    settings = replace(settings, optimizer=replace(settings.optimizer, target=amsgrad))
    run(settings, tmp_path / "run", config={}, names=NAMES)
    strategy, state = trained(tmp_path / "run", *FAST), final_state(tmp_path / "run")
    parameters = [p for p in strategy.parameters() if p.requires_grad]
    optimizer = Phases(settings, strategy.network, parameters).fresh_optimizer(0)
    assert "max_exp_avg_sq" in next(iter(state["optimizer"]["state"].values()))
    check_fits(
        {k: v for k, v in state.items() if not k.startswith("metrics_")}, strategy, optimizer
    )


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "strategy").glob("*.yaml")))
def test_what_a_run_begins_with_is_a_function_of_its_settings_and_seed(name: str) -> None:
    """The weights of networks that a strategy has beside the one that it trains, too."""
    drawing = name in ("dgr", "generative_classifier")
    small = "strategy.widths=[8]" if drawing else "model.widths=[8]"
    settings = composed(f"strategy={name}", small)
    states = []
    for used in range(2):
        torch.manual_seed(used)
        states.append(build_strategy(settings).state_dict())
    first, again = states
    assert first.keys() == again.keys()
    tensors = [key for key in first if isinstance(first[key], torch.Tensor)]
    assert tensors and all(torch.equal(first[key], again[key]) for key in tensors)
