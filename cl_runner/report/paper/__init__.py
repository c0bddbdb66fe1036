"""The table of a paper: methods × data sets, scenarios or settings."""
