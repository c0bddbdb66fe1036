"""Options, metrics and suites for cl-runner."""
