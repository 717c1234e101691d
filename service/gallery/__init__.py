"""The gallery: collections of items, durable on disk and searched in memory."""
