"""Alembic migrations of the inventory service's schema."""
