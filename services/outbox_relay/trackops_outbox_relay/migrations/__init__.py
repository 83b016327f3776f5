"""Alembic migrations of the relay's own schema."""
