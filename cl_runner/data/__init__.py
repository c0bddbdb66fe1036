"""Data sets: where their bytes come from, and how they are cut into the tasks of a stream."""
