"""`Lunos` under the import path that LlamaIndex's own integrations use."""

from llama_index_lunos.llm import Lunos

__all__ = ["Lunos"]
