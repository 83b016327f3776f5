"""Kafka and Postgres behind the ports."""
