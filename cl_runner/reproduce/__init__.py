"""Published numbers, the runs that should reach them, the verdict."""
