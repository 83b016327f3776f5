"""Postgres and wire formats behind the ports."""
