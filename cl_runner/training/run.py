"""One run, from its settings to its results: started, or continued where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cl_runner import machine
from cl_runner.config import own_code
from cl_runner.models.network import Network
from cl_runner.plugins import loading
from cl_runner.randomness import seeded
from cl_runner.run_folder import changed_code, read, resume
from cl_runner.run_folder.checkpoint import Checkpoints
from cl_runner.run_folder.files import locked
from cl_runner.run_folder.outcome import Results
from cl_runner.strategies.strategy import Strategy
from cl_runner.tracking.guarded import Guarded
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Trackers
from cl_runner.training import (
    checks,
    environment,
    frozen_features,
    reference,
    remarks,
    results,
    sizes,
)
from cl_runner.training.first_task import FirstTask
from cl_runner.training.loop import Training
from cl_runner.training.saver import Saver
from cl_runner.training.settings import Settings
from cl_runner.training.signals import Signals

log = logging.getLogger("cl_runner")


def run(
    settings: Settings,
    folder: Path,
    *,
    config: dict[str, Any],
    names: dict[str, str],
    overrides: Sequence[str] = (),
    masks: dict[str, str] | None = None,
) -> Results:
    """Run one experiment, or continue it, and return what its `results.json` holds.

    config: the composed settings as they are recorded; names: the chosen option of each config
    group; overrides: the command line's, which `resume=FOLDER` needs; masks: secret values and what
    to write in their place. With `settings.resume`, a run in the folder continues from its newest
    checkpoint; a complete one is only read. Nothing is written before settings and data have been
    checked.
    """
    loading.load()
    device = machine.choose_device(settings.device)
    with machine.threads(settings.threads):
        strategy = build_strategy(settings).to(device)
        stream = settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device=device)
        said = None
        if strategy.network.skips_body:
            stream, said = frozen_features.of_stream(stream, strategy.network, device, config)
        compared = reference.matrix_of(settings, stream)
        checks.check_samples(strategy, stream)
        batch_size = settings.batch_size
        if settings.drop_last:
            checks.check_whole_steps(strategy, stream, batch_size * settings.accumulate)
        if not settings.drop_last or batch_size == 1:
            checks.check_batches(strategy, stream, batch_size)
        if settings.keep == "logits":
            sizes.check_logits(stream)
        with locked(folder), Signals() as signals:
            if (complete := resume.finished(folder, config, settings.resume)) is not None:
                return complete
            attempt = resume.next_attempt(folder, config)
            checkpoints = Checkpoints(folder / "checkpoint", attempt.settings)
            saved, warnings = checkpoints.load()
            if saved is None:
                attempt = replace(attempt, code=own_code.digests(config))
            elif other_code := changed_code.of_run(folder, config, changed_code.GOES_ON):
                warnings = [*warnings, other_code]
            durable = (saved["metrics_size"], saved["metrics_sha256"]) if saved else (0, None)
            earlier = read.metrics(folder, *durable)
            files = LocalFiles(folder, durable[0])
            others = [settings.tracker] if settings.tracker else []
            others += settings.trackers
            trackers = Trackers([files, Progress(), *map(Guarded, others)])
            saver = Saver(checkpoints, settings.checkpoint, files, signals)
            training = Training(settings, stream, strategy, trackers, names["strategy"], saver)
            if settings.first_task_cache is not None:
                training.first_task = FirstTask(settings.first_task_cache, config, saver).train
            if saved is not None:  # before anything in the folder is changed
                training.put_back(saved)
            info = RunInfo(
                folder,
                config,
                names,
                task_names=[task.name for task in stream.tasks],
                steps=training.total_steps(),
                steps_done=training.cost.steps,
                earlier=earlier,
                attempt=attempt,
                overrides=list(overrides),
                masks=masks or {},
            )
            with trackers.following(info), checks.out_of_memory_in_one_line():
                if said is not None:
                    log.info("%s", said)
                remarks.say(strategy, names["strategy"], settings, stream.outline)
                for warning in warnings:
                    log.warning("%s", warning)
                if saved is not None:
                    environment.warn_if_other(saved["environment"], training.environment)
                    done = training.cost.steps
                    log.info("attempt %d: going on after step %d", attempt.number, done)
                training.to_the_end()
                files.save_arrays(read.PREDICTIONS, training.evaluator.arrays())
                if probed := training.probe.arrays():
                    files.save_arrays(read.PROBE, probed)
                if scores := training.evaluator.scores():
                    files.save_arrays(read.LOGITS, scores)
                checkpoints.prune(1)  # the final state stays: it contains the trained network
                trackers.results = measured = results.compose(training, names, compared)
            signals.obey(folder)
    return measured


def build_strategy(settings: Settings) -> Strategy:
    """Network and strategy before the first task, a function of settings and seed."""
    outline = settings.dataset.outline(settings.seed)
    sizes.check_parts(settings, outline, machine.choose_device(settings.device))
    with seeded(settings.seed, "initial weights"):
        network: Network = settings.model(outline.shape, outline.classes)
    checks.check_network(network, outline)
    frozen_features.fit(network, outline, settings.ce_scope, settings.one_output_layer)
    network.compute_in(settings.precision, settings.memory_format)
    with seeded(settings.seed, "initial weights of the strategy's own networks"):
        strategy: Strategy = settings.strategy(network)
    checks.check_classifier(strategy)
    learning = [p for p in strategy.parameters() if p.requires_grad]
    settings.optimizer(learning, 0)  # fails here rather than later if it is not an optimizer
    return strategy
