"""cl-runner: train one network on tasks one after another, and measure what it forgets."""

__version__ = "0.1.0"
