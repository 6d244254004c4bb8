"""What every client is asked."""

PROMPT = "What is the capital of France? Answer in one sentence."
