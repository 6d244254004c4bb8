"""Lunos for LlamaIndex: `Lunos` and `LunosEmbedding`.

Names are loaded on first use, so that an application only imports what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core.lazy import is_installed, lazy_names

# this distribution adds to the namespace, which therefore exists without LlamaIndex
if not is_installed("llama_index.core"):
    raise ImportError(
        "llama_index_lunos needs LlamaIndex, which is not installed: "
        'pip install "lunos-integrations[llama-index]"'
    )

if TYPE_CHECKING:
    from llama_index_lunos.audio import LunosAudioReader as LunosAudioReader
    from llama_index_lunos.audio import LunosSpeechToolSpec as LunosSpeechToolSpec
    from llama_index_lunos.embeddings import LunosEmbedding as LunosEmbedding
    from llama_index_lunos.errors import LunosStructuredOutputError as LunosStructuredOutputError
    from llama_index_lunos.images import LunosImageToolSpec as LunosImageToolSpec
    from llama_index_lunos.llm import Lunos as Lunos

_HOMES = {
    "audio": ("LunosAudioReader", "LunosSpeechToolSpec"),
    "embeddings": ("LunosEmbedding",),
    "errors": ("LunosStructuredOutputError",),
    "images": ("LunosImageToolSpec",),
    "llm": ("Lunos",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
