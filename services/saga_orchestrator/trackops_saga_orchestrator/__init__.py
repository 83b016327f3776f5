"""Runs the sagas that drive orders to their end."""
