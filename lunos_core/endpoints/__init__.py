"""What to ask each endpoint, and how to read its answer: pure functions."""
