"""Moves the rows of outboxes to Kafka, exactly once and in order."""
