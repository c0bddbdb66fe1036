"""The default launcher: jobs one after another, each in a child process of its own.

What ends a job's process ends no other job, and nothing that a job leaves in memory reaches the
next. The child is forked from the sweep, which has imported all that takes long.
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
from cl_runner.jobs.child import end_with
from cl_runner.training.signals import Signals

log = logging.getLogger(__name__)
NEEDED = ("cl_runner.training.run", "torch._dynamo")
"""What each job imports, which takes seconds (the second with its optimizer): once, here."""


class InTurn(Launcher):
    """As Hydra's own launcher does it, but in a child."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run the jobs. Raises Interrupted, and begins no later one, if one was asked to stop."""
        for module in NEEDED:
            importlib.import_module(module)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        log.info(f"Launching {len(job_overrides)} jobs, one after another")
        return [
            self._outcome(list(overrides), number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]

    def _outcome(self, overrides: list[str], number: int) -> JobReturn:
        log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        code = in_child(lambda: self._job(overrides, number))
        told = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
        if code != 0:  # why is in the job's folder
            told.status, told.return_value = JobStatus.FAILED, RunError(f"ended with {code}")
        return told

    def _job(self, overrides: list[str], number: int) -> int:
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
        return 0 if done.status == JobStatus.COMPLETED else 1


def in_child(job: Callable[[], int]) -> int:
    """The exit code of a forked process that does this; a signal that ended it counts negatively.

    Signals to this process reach the child, which saves its state and ends; Interrupted is raised
    then. So it does if this process dies.
    """
    forwarded = mmap.mmap(-1, 1)  # shared with the child: how many signals came from here
    lives, alive = os.pipe()  # the end of this process closes the pipe
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # else the child would say it again
            stream.flush()
    try:
        with _forwarding(forwarded) as (child, received):
            if child == 0:
                os.close(alive)
                end_with(lives)
                Signals.forwarded = forwarded
                _do_and_exit(job)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # its number stays taken until
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # here: no stranger is sent any
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
    """Fork; while this is entered, signals are passed on to the child. Gives its number, in the
    child itself 0, and the signals so far."""
    received: list[signal.Signals] = []
    child = 0

    def forward(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        forwarded[0] = min(len(received), 255)
        os.kill(child, number)

    before: dict[signal.Signals, Any] = {}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)  # until it is known to whom
    try:
        with warnings.catch_warnings():
            # Newer Pythons warn of threads, which numpy's libraries have, and which they prepare.
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
    """Nothing that the parent has yet to do, such as its `finally`, may be done here."""
    code = 1
    try:
        code = job()
    except Interrupted as stop:
        code = EXIT_CODES[stop.number]
    except KeyboardInterrupt:
        code = EXIT_CODES[signal.SIGINT]
    except SystemExit:  # of the job, and in its folder, as is an error of its own
        pass
    except BaseException as error:
        with suppress(OSError, AttributeError):
            print(f"launcher error: {first_line(error)}", file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # nobody may be reading any more
                stream.flush()
        os._exit(code)
