"""Training the first task once for all runs that only differ later: alpha, T, a weight, a buffer.

A run with `first_task_cache=FOLDER` takes over the state that an equal run left there after
training on the first task, or leaves its own. The name of an entry is the digest of everything it
depends on: settings that act in the first task, samples, this package's code, versions, device and
threads. The results are the same as without the cache, bit for bit. The seconds include those of
the training, whichever run did it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from cl_runner import lock
from cl_runner.config.identity import acting
from cl_runner.config.own_code import digest_of_files, own_code
from cl_runner.config.paths import HERE
from cl_runner.config.traits import Config, shares_first_task
from cl_runner.data.samples import digest_of
from cl_runner.errors import StorageError, first_line
from cl_runner.run_folder.checkpoint import SCHEMA, State, Unusable, loaded, packed, unpacked
from cl_runner.run_folder.events import Event
from cl_runner.run_folder.files import write
from cl_runner.run_folder.read import events_of
from cl_runner.training.loop import Training
from cl_runner.training.saver import Saver

log = logging.getLogger("cl_runner")
LIMIT = 10 * 2**30  # bytes of all entries in a folder; the least recently used are removed


class FirstTask:
    """The cache as one run uses it: trains on the first task, or takes over what is there."""

    def __init__(self, folder: str, config: Config, saver: Saver) -> None:
        self.folder, self.config, self.saver = Path(folder), config, saver

    def train(self, training: Training) -> None:
        """Take a run that has just begun its first task to the end of the training on it."""
        entry = self.folder / f"{self._digest(training)}.ckpt"
        with self._alone(entry):
            saved = _read(entry)
            if saved is not None and _take_over(training, saved, entry):
                log.info("task 1 was taken from the cache: %s", entry)
                return
            with training.trackers.recording() as events:
                training.train(training.stream.tasks[0])
            self._keep(entry, _left(training, events))

    def _keep(self, entry: Path, left: State) -> None:
        try:
            write(entry, packed(left, {"schema": SCHEMA}))
            self._stay_within_limit()
        except (OSError, StorageError) as error:  # the run does not need the cache
            log.warning("first_task_cache is not used: %s", first_line(error))

    def _digest(self, training: Training) -> str:
        depends_on = {
            "settings": acting(self.config),
            "seed": training.settings.seed,
            # The samples of the first task for training, and for evaluation within it.
            "data": digest_of(training.stream.tasks[0].train, training.stream.test[0]),
            # A file may have given them.
            "weights": digest_of_weights(training.strategy.network.body),
            "code": digest_of_files(sorted(HERE.rglob("*.py"))),
            "own code": digest_of_files(own_code(self.config)),
            # The code itself counts, not the commit it comes from.
            "environment": training.environment | {"git": None},
        }
        return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def _alone(self, entry: Path) -> Iterator[None]:
        """Wait while another process trains for this entry; a signal ends the wait."""
        with ExitStack() as stack:
            with suppress(OSError, StorageError):  # goes on without the cache; `_keep` warns
                self.folder.mkdir(parents=True, exist_ok=True)
                obey = partial(self.saver.signals.obey, self.saver.files.folder)
                stack.enter_context(lock.held(entry.with_suffix(".lock"), waiting=obey))
            yield

    def _stay_within_limit(self) -> None:
        entries = sorted(self.folder.glob("*.ckpt"), key=lambda e: e.stat().st_mtime, reverse=True)
        total = 0
        for entry in entries:
            total += entry.stat().st_size
            if total > LIMIT:
                entry.unlink(missing_ok=True)


def _left(training: Training, events: list[Event]) -> State:
    """What another run needs to take over. Of the strategy that is only the network, if nothing
    else has changed."""
    full, strategy = training.state(), training.settings.strategy
    if shares_first_task(strategy.target, strategy.settings):
        full["strategy"] = {k: v for k, v in full["strategy"].items() if k.startswith("network.")}
    return full | {"events": [event.line() for event in events]}


def _take_over(training: Training, saved: State, entry: Path) -> bool:
    """Continue as if this run had trained: same state, same lines in metrics.jsonl. Returns whether
    the entry fits; if not, the run is as it was."""
    before = copy.deepcopy(training.state())  # `put_back` overwrites its tensors
    try:
        events = events_of(saved["events"])
        training.put_back(_merged(training, before, saved))
    except Exception as error:  # its digest is right, but its content is something else
        log.warning("%s does not fit (%s); training task 1 again", entry, first_line(error))
        training.put_back(before)
        return False
    for event in events:
        training.trackers.log(event)
    return True


def _merged(training: Training, before: State, saved: State) -> State:
    """The entry's state in all that such runs share, and this run's own in the rest."""
    # Evaluations within the task come from the entry, one before the task is this run's own.
    within = {k: v for k, v in saved["evaluator"].items() if k in ("curve", "fits")}
    own = {"evaluator": {**before["evaluator"], **within}, "data_sha256": before["data_sha256"]}
    # Not all of these networks have a layer that is inserted later; so far it is zero.
    known = {k: v for k, v in saved["strategy"].items() if k in before["strategy"]}
    own["strategy"] = {**before["strategy"], **known}
    if training.settings.reset_optimizer:
        own["optimizer"] = before["optimizer"]
    return {**saved, **own}


def _read(entry: Path) -> State | None:
    """The state in the entry; None if there is no entry or it is damaged."""
    if not entry.exists():
        return None
    try:
        _, archive = unpacked(entry)
        saved = loaded(archive)
    except Unusable as problem:
        log.warning("%s %s; training task 1 again", entry, problem)
        return None
    os.utime(entry)
    return saved


def digest_of_weights(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, with their names."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().data)
    return digest.hexdigest()
