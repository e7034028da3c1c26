"""Places, their descriptors and the search among them: one SQLite file and an index."""
