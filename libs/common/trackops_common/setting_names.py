"""How settings are named."""

__all__ = ["PREFIX"]

PREFIX = "TRACKOPS_"
"""Of every variable of the environment that we read."""
