"""`LunosEmbedding` under the name that LlamaIndex' own integrations have."""

from llama_index_lunos.embedding import LunosEmbedding

__all__ = ["LunosEmbedding"]
