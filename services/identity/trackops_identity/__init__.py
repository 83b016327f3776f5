"""The identity service: people, programs, sessions, and the tokens that vouch for them."""
