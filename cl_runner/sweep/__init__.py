"""Sweeps: jobs with stable names, none lost, none done twice."""
