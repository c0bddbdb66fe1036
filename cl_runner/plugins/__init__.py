"""Packages of the user's that bring options, metrics and suites: found, trusted, loaded."""
