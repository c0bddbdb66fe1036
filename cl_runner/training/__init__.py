"""One run: its settings, its loop, its state, its checks."""
