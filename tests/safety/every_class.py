"""Every public class that takes the key, by name: what must hold of each is tested of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_lunos import (
    ChatLunos,
    LunosAudioTranscriber,
    LunosEmbeddings,
    LunosImageGeneration,
    LunosLLM,
    LunosSpeech,
)
from llama_index_lunos import (
    Lunos,
    LunosAudioReader,
    LunosEmbedding,
    LunosImageToolSpec,
    LunosSpeechToolSpec,
)
from lunos_core import AsyncClient, AsyncLunos, Client, Config
from lunos_core import Lunos as Core


def _client_of(kind: Any) -> Callable[..., Any]:
    return lambda **settings: kind(Config(**settings))


# each is given `api_key=` and `base_url=`
CORE: dict[str, Callable[..., Any]] = {
    "Config": Config,
    "Client": _client_of(Client),
    "AsyncClient": _client_of(AsyncClient),
    "lunos_core.Lunos": Core,
    "AsyncLunos": AsyncLunos,
}
LANGCHAIN: dict[str, Callable[..., Any]] = {
    "ChatLunos": lambda **settings: ChatLunos(model="m", **settings),
    "LunosLLM": lambda **settings: LunosLLM(model="m", **settings),
    "LunosEmbeddings": lambda **settings: LunosEmbeddings(model="m", **settings),
    "LunosImageGeneration": lambda **settings: LunosImageGeneration(model="m", **settings),
    "LunosAudioTranscriber": lambda **settings: LunosAudioTranscriber(model="m", **settings),
    "LunosSpeech": lambda **settings: LunosSpeech(model="m", **settings),
}
LLAMA_INDEX: dict[str, Callable[..., Any]] = {
    "Lunos": lambda **settings: Lunos("m", **settings),
    "LunosEmbedding": lambda **settings: LunosEmbedding("m", **settings),
    "LunosImageToolSpec": lambda **settings: LunosImageToolSpec(model="m", **settings),
    "LunosAudioReader": lambda **settings: LunosAudioReader(model="m", **settings),
    "LunosSpeechToolSpec": lambda **settings: LunosSpeechToolSpec(model="m", **settings),
}
EVERY = {**CORE, **LANGCHAIN, **LLAMA_INDEX}
