"""`Lunos` under the name that LlamaIndex's own integrations have."""

from llama_index_lunos.llm import Lunos

__all__ = ["Lunos"]
