"""How work comes in: order events and RPCs."""
