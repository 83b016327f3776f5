"""Postgres, the provider and wire formats behind the ports."""
