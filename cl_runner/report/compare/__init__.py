"""Runs compared: sections, groups, spreads, ranking."""
