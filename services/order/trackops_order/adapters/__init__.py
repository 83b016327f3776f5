"""Postgres, Redis and wire formats behind the ports."""
