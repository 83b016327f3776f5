"""What stock is, and how it is promised."""
