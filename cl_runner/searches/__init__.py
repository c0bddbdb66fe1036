"""`cl-search`: settings chosen by optuna on validation data. Its folder is that of a sweep."""
