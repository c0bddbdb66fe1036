"""What the server from which children are forked does once, when it imports this: the imports that
every job needs, Hydra's search for plugins, and reading the files of `conf/`.

`torch._dynamo` comes with the first step of an optimizer.
"""

from __future__ import annotations

from contextlib import suppress

import torch._dynamo  # noqa: F401

import cl_runner.training.results
import cl_runner.training.run  # noqa: F401
from cl_runner.config import hydra_loader
from cl_runner.jobs.composition import of_a_sweep

with suppress(Exception), hydra_loader.installed(), of_a_sweep(None):
    pass  # what is wrong with a plugin, each child says
