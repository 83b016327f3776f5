"""The `trackops` command: local stack, operator commands, demo."""
