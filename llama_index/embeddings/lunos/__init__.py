"""`LunosEmbedding` under the import path that LlamaIndex's own integrations use."""

from llama_index_lunos.embeddings import LunosEmbedding

__all__ = ["LunosEmbedding"]
