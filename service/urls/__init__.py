"""Pictures by URL: which may be fetched, from where, and within which bounds."""
