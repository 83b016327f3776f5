"""Sagas: their tables, and how an instance of one moves."""
