"""Where the ports meet Postgres and the participants."""
