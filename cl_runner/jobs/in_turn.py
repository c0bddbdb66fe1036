"""The default launcher: jobs one after another, each in its own child process.

If a job's process dies, the other jobs still run, and nothing that a job leaves in memory reaches
the next. The child is forked from the sweep, which has done the slow imports.
"""

from __future__ import annotations

import importlib
import logging
import mmap
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from struct import Struct
from typing import Any

from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from cl_runner.errors import EXIT_CODES, Interrupted, RunError, first_line
from cl_runner.jobs.child import PRELOADED, end_with
from cl_runner.training.signals import Signals

log = logging.getLogger(__name__)
_VALUE = Struct("?d")
"""What a job returns: whether that is a number, and which."""


class InTurn(Launcher):
    """Like Hydra's own launcher, but each job runs in a child process."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run the jobs. If one was asked to stop, raise Interrupted and start no other."""
        importlib.import_module(PRELOADED)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        log.info(f"Launching {len(job_overrides)} jobs, one after another")
        return [
            self._outcome(list(overrides), number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]

    def _outcome(self, overrides: list[str], number: int) -> JobReturn:
        log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        value = mmap.mmap(-1, _VALUE.size)  # shared with the child
        code = in_child(lambda: self._job(overrides, number, value))
        outcome = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
        there, returned = _VALUE.unpack(value[:])
        outcome.return_value = returned if there else None
        if code != 0:  # the job's folder says why
            outcome.status, outcome.return_value = JobStatus.FAILED, RunError(f"ended with {code}")
        return outcome

    def _job(self, overrides: list[str], number: int, value: mmap.mmap) -> int:
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        done = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if done.status != JobStatus.COMPLETED:
            return 1
        if isinstance(done.return_value, float):
            value[:] = _VALUE.pack(True, done.return_value)
        return 0


def in_child(job: Callable[[], int]) -> int:
    """Run the job in a forked process. Returns its exit code, negative if a signal ended it.

    Signals to this process are passed on to the child, which saves its state and ends; then
    Interrupted is raised. The child also saves and ends if this process dies.
    """
    forwarded = mmap.mmap(-1, 1)  # shared with the child: how many signals were passed on
    lives, alive = os.pipe()  # closed when this process ends
    _flush()  # otherwise the child would print it again
    try:
        with _forwarding(forwarded) as (child, received):
            if child == 0:
                os.close(alive)
                end_with(lives)
                Signals.forwarded = forwarded
                _do_and_exit(job)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        # Until here the child keeps its process id, so no signal can reach another process.
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(lives)
        os.close(alive)
    if received:
        raise Interrupted(received[0])
    for number in (signal.SIGINT, signal.SIGTERM):
        if code == EXIT_CODES[number]:
            raise Interrupted(number)
    return code


@contextmanager
def _forwarding(forwarded: mmap.mmap) -> Iterator[tuple[int, list[signal.Signals]]]:
    """Fork, and pass signals on to the child while entered. Gives its process id (0 in the child
    itself) and the list of signals received so far."""
    received: list[signal.Signals] = []
    child = 0

    def forward(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        forwarded[0] = min(len(received), 255)
        os.kill(child, number)

    before: dict[signal.Signals, Any] = {}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)  # until the child exists
    try:
        with warnings.catch_warnings():
            # Newer Pythons warn about threads. Those of numpy's libraries are prepared for a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child != 0 and threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, forward) for number in EXIT_CODES}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        yield child, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do_and_exit(job: Callable[[], int]) -> None:
    """Never return: what the parent has yet to do, such as its `finally`, must not run here."""
    code = 1
    try:
        code = job()
    except Interrupted as stop:
        code = EXIT_CODES[stop.number]
    except KeyboardInterrupt:
        code = EXIT_CODES[signal.SIGINT]
    except SystemExit:  # raised by the job, whose folder says why
        pass
    except BaseException as error:
        with suppress(OSError, AttributeError):
            print(f"launcher error: {first_line(error)}", file=sys.stderr)
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it any more
            stream.flush()
