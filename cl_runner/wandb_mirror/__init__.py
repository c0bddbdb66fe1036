"""Weights & Biases: the live mirror, rebuilt runs, the summary of a sweep."""
