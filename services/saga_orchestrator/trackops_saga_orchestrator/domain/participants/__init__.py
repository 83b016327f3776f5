"""What sagas can have done, one module a participant."""
