"""The schema of the orchestrator."""
