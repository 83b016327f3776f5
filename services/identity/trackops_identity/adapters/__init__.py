"""Postgres, Argon2, JWT and the list of common passwords."""
