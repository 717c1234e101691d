"""Train and evaluate beside other libraries and plain loops: `make bench-learning`."""
