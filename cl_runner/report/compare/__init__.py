"""Comparing runs: sections, groups, spreads, ranking."""
