"""The order service: accepts orders and owns their lifecycle."""
