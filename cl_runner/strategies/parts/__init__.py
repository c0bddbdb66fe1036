"""The vocabulary of the equations."""
