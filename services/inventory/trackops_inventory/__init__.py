"""The inventory service: stock, and what is reserved of it for orders."""
