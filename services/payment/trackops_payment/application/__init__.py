"""One module a use case; each takes a sequence of commands and answers each."""
