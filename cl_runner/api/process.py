"""What a run changes in the process of its caller, and how it is put back."""

from __future__ import annotations

import logging
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer
from tqdm import tqdm

from cl_runner import machine
from cl_runner.config import targets
from cl_runner.training.signals import Signals

ONE_AT_A_TIME = RLock()
"""Torch's generators and settings belong to the process: a second thread waits for its turn."""
FRESH = 67280421310721
"""The seed of torch's own generator in a new process."""


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Inside, generators and settings are those of a new process. Afterwards they, Hydra, logging
    and the rest are as they were before, whatever was done inside."""
    with ONE_AT_A_TIME, ExitStack() as after:
        after.enter_context(warnings.catch_warnings())
        after.enter_context(machine.threads(None))
        _generators(after)
        _torch(after)
        _logging(after)
        _hydra(after)
        _keep(after, tqdm, "monitor_interval")
        _keep(after, tqdm, "_lock")
        _keep(after, Signals, "own_process")
        Signals.own_process = False
        path, trusted = list(sys.path), set(targets.TRUSTED)
        after.callback(sys.path.__setitem__, slice(None), path)
        after.callback(targets.TRUSTED.intersection_update, trusted)
        yield


def _keep(after: ExitStack, owner: Any, name: str) -> None:
    """Put this attribute back."""
    there, value = hasattr(owner, name), getattr(owner, name, None)

    def put_back() -> None:
        if there:
            setattr(owner, name, value)
        elif hasattr(owner, name):
            delattr(owner, name)

    after.callback(put_back)


def _generators(after: ExitStack) -> None:
    after.callback(random.setstate, random.getstate())
    after.callback(np.random.set_state, np.random.get_state())
    used = torch.cuda.is_initialized()  # else asking for its state would begin to use the GPU
    after.enter_context(torch.random.fork_rng(range(torch.cuda.device_count()) if used else ()))
    torch.default_generator.manual_seed(FRESH)
    if used:
        torch.cuda.manual_seed_all(FRESH)


def _torch(after: ExitStack) -> None:
    after.enter_context(torch.inference_mode(False))
    after.enter_context(torch.enable_grad())
    after.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    if (device := torch.get_default_device()).type != "cpu":
        after.callback(torch.set_default_device, device)
        torch.set_default_device(None)
    after.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    after.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    _keep(after, torch.backends.cudnn, "benchmark")
    _keep(after, torch.backends.cudnn, "deterministic")


def _logging(after: ExitStack) -> None:
    """Levels and handlers of all loggers. Hydra and a run change some of them."""
    named = logging.root.manager.loggerDict.values()
    own = logging.getLogger("cl_runner")
    for logger in (logging.root, own, *(x for x in named if isinstance(x, logging.Logger))):
        after.callback(logger.setLevel, logger.level)
        after.callback(logger.handlers.__setitem__, slice(None), list(logger.handlers))
        _keep(after, logger, "propagate")
        _keep(after, logger, "disabled")


def _hydra(after: ExitStack) -> None:
    """The caller may itself be a Hydra application."""
    _keep(after, GlobalHydra.instance(), "hydra")
    _keep(after, HydraConfig.instance(), "cfg")
    _keep(after, VersionBase.instance(), "version_base")
    runtime = JobRuntime.instance()
    after.callback(setattr, runtime, "conf", runtime.conf.copy())
    resolvers = dict(BaseContainer._resolvers)
    after.callback(setattr, BaseContainer, "_resolvers", resolvers)
