"""Chat and text completions: requests, messages, streams."""
