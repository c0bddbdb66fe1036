"""Where Hydra looks for plugins: the sweeper and the launcher of cl-train (`cl_runner/sweep/`)."""

from cl_runner.jobs import in_turn
from cl_runner.sweep import sweeper


class Sweep(sweeper.Sweep):
    """Hydra builds sweepers that are defined in this namespace, and no others."""


class InTurn(in_turn.InTurn):
    """So it does launchers."""
