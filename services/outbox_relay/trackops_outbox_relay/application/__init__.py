"""Use cases of the relay and the ports they need."""
