"""Runs, sweeps and what they leave, from Python: in a script or a notebook."""
