"""The requests of each endpoint and the parsers of its answers: pure functions."""
