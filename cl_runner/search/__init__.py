"""`cl-search`: settings chosen by optuna on validation data, in the folders and by the rules of a
sweep."""
