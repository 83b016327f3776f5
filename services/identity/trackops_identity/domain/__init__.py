"""Accounts, sessions and keys, and the rules that they keep."""
