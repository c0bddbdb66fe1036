"""`cl-train new`: the files of a strategy, model, data set, metric or package to start from."""
