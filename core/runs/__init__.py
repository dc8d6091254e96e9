"""A run on disk: reading it, its predictions table, and how results are written."""
