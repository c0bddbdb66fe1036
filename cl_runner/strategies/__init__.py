"""Strategies against forgetting: one file per strategy, its docstring the equation."""
