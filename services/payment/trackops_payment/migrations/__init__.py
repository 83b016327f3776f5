"""Alembic migrations of the payment service's schema."""
