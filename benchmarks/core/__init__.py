"""Measure the numerical core against its peers: `make bench-core`."""
