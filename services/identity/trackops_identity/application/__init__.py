"""One module a use case. Each serves one call: a password costs more than any batch could save."""
