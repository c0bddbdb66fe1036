"""Configuration: where it is, and what it may contain."""
