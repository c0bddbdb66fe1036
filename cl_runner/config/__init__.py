"""Configuration: where it is, and what may be said in it."""
