"""`LunosEmbedding` under the name that LlamaIndex's own integrations have."""

from llama_index_lunos.embeddings import LunosEmbedding

__all__ = ["LunosEmbedding"]
