"""Real PostgreSQL, Redis and Kafka and the services, as processes of this machine."""
