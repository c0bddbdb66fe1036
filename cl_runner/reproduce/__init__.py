"""Published numbers, the runs that should reach them, and the verdict."""
