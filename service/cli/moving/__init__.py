"""`lookalike import` and `export`: collections filled from files, and written to files, over REST."""
