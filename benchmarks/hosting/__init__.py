"""Stress the running server, check every answer, and write what it bears: `make bench-hosting`."""
