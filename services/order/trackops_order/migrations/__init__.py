"""Alembic migrations of the order service's schema."""
