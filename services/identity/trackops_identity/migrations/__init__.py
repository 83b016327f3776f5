"""Alembic migrations of the identity service's schema."""
