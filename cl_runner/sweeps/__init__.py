"""Sweeps: jobs with stable names; none is lost, none is run twice."""
