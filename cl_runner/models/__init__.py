"""Networks: a body that computes features, and a classifier that grows with the tasks."""
