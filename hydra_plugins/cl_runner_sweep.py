"""The sweeper and the launcher of cl-train, where Hydra looks for plugins."""

from cl_runner.jobs import in_turn
from cl_runner.sweeps import sweeper


class Sweep(sweeper.Sweep):
    """Hydra only builds sweepers that are defined in this namespace."""


class InTurn(in_turn.InTurn):
    """The same holds for launchers."""
