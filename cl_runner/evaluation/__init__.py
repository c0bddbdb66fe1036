"""What a strategy predicts and how well. Only this package reads test data."""
