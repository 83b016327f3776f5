"""What the relay knows about sources and checkpoints, without Kafka or SQL."""
