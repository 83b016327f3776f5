"""Use cases, and the engine that moves many sagas at once."""
