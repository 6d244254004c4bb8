"""What every client asks."""

PROMPT = "What is the capital of France? Answer in one sentence."
