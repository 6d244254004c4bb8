"""Bulk work: millions of texts through one key, resumable, at one pace, in budget."""
