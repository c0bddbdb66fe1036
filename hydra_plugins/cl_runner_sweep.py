"""Where Hydra looks for plugins: the sweeper of cl-train (`cl_runner/sweep/sweeper.py`)."""

from cl_runner.sweep import sweeper


class Sweep(sweeper.Sweep):
    """Hydra builds sweepers that are defined in this namespace, and no others."""
