"""Where the numbers of a run go: local files, which are the truth, and their mirrors."""
