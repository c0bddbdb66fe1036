"""What a strategy gets right: the only readers of test data."""
