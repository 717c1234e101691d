"""The gallery beside other vector stores, and what it costs to write, filter and hold a million items."""
