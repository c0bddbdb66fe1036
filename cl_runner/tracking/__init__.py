"""Where a run's numbers go: local files, which are the truth, and mirrors of them."""
