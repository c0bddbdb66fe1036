"""Data sets: where their bytes come from, and how they become the tasks of a stream."""
