"""Strategies against forgetting: one file a strategy, its docstring the equation."""
