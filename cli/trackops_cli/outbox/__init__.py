"""`trackops outbox`: what an operator does about the relay."""
