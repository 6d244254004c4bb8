"""The ways to call: each asks a model and returns its answer, and notes what came on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import (
    AsyncClient,
    Client,
    Config,
    chat_request,
    chat_stream_request,
    completion_request,
    embedding_request,
)
from tests.chaos.answers import OBJECT, TEXT, VECTORS

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
MESSAGES = [ChatMessage("Hello")]
TEXTS = ["one", "two"]


class Album(BaseModel):
    """What is asked for."""

    title: str
    year: int


ALBUM = Album(**OBJECT)


@dataclass(frozen=True)
class Style:
    """One way to call.

    Attributes:
        make: makes the object that is called, from settings.
        ask: calls it; appends the pieces of a stream to the list as they come.
        right: what it must return.
        streamed: whether it asks for a stream.
        is_async: whether `ask` is to be awaited.
    """

    make: Callable[..., Any]
    ask: Callable[[Any, list[str]], Any]
    right: Any = TEXT
    streamed: bool = False
    is_async: bool = False


def _core(settings: dict[str, Any]) -> Client:
    return Client(Config(**settings))


def _async_core(settings: dict[str, Any]) -> AsyncClient:
    return AsyncClient(Config(**settings))


def _adapter(kind: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda settings: kind(model="m", **settings)


def _read(stream: Any, pieces: list[str], text: Callable[[Any], str]) -> str:
    pieces += map(text, stream)  # piece by piece: what came before an error stays
    return "".join(pieces)


async def _aread(stream: Any, pieces: list[str], text: Callable[[Any], str]) -> str:
    async for item in await stream if hasattr(stream, "__await__") else stream:
        pieces += [text(item)]
    return "".join(pieces)


def _text(item: Any) -> str:
    return str(item.text)


def _delta(item: Any) -> str:
    return item.delta or ""


async def _asend(client: AsyncClient, pieces: list[str]) -> Any:
    return (await client.send(chat_request(HELLO, model="m"))).text


async def _ainvoke(model: Any, pieces: list[str]) -> Any:
    return (await model.ainvoke("Hello")).text


async def _achat(model: Any, pieces: list[str]) -> Any:
    return (await model.achat(MESSAGES)).message.content


def _event_text(event: Any) -> str:
    chunk = event["data"].get("chunk") if event["event"] == "on_chat_model_stream" else None
    return chunk.text if chunk is not None else ""


def _v3(model: Any, pieces: list[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is young
        return model.stream_events("Hello", version="v3").output.text


async def _av3(model: Any, pieces: list[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (await (await model.astream_events("Hello", version="v3")).output).text


def _structured(model: Any, pieces: list[str]) -> Any:
    return model.structured_predict(Album, PromptTemplate("An album"))


async def _astructured(model: Any, pieces: list[str]) -> Any:
    return await model.astructured_predict(Album, PromptTemplate("An album"))


_ACORE = {"make": _async_core, "is_async": True}
_CHAT, _LLM = {"make": _adapter(ChatLunos)}, {"make": _adapter(Lunos)}
_STREAM = {"streamed": True}
_ASTREAM = {"streamed": True, "is_async": True}
_ASYNC = {"is_async": True}

STYLES: dict[str, Style] = {
    "core.send": Style(_core, lambda c, p: c.send(chat_request(HELLO, model="m")).text),
    "core.stream": Style(
        _core,
        lambda c, p: _read(c.stream(chat_stream_request(HELLO, model="m")), p, _text),
        **_STREAM,
    ),
    "core.completion": Style(_core, lambda c, p: c.send(completion_request("Hi", model="m")).text),
    "core.embeddings": Style(
        _core, lambda c, p: c.send(embedding_request(TEXTS, model="m")).vectors, VECTORS
    ),
    "core.asend": Style(ask=_asend, **_ACORE),
    "core.astream": Style(
        ask=lambda c, p: _aread(c.stream(chat_stream_request(HELLO, model="m")), p, _text),
        **_ACORE,
        **_STREAM,
    ),
    "langchain.invoke": Style(ask=lambda m, p: m.invoke("Hello").text, **_CHAT),
    "langchain.ainvoke": Style(ask=_ainvoke, **_CHAT, **_ASYNC),
    "langchain.stream": Style(
        ask=lambda m, p: _read(m.stream("Hello"), p, _text), **_CHAT, **_STREAM
    ),
    "langchain.astream": Style(
        ask=lambda m, p: _aread(m.astream("Hello"), p, _text), **_CHAT, **_ASTREAM
    ),
    "langchain.events": Style(
        ask=lambda m, p: _aread(m.astream_events("Hello", version="v2"), p, _event_text),
        **_CHAT,
        **_ASTREAM,
    ),
    "langchain.v3": Style(ask=_v3, **_CHAT, **_STREAM),
    "langchain.av3": Style(ask=_av3, **_CHAT, **_ASTREAM),
    "langchain.batch": Style(ask=lambda m, p: m.batch(["Hello"])[0].text, **_CHAT),
    "langchain.llm": Style(_adapter(LunosLLM), lambda m, p: m.invoke("Hello")),
    "langchain.embeddings": Style(
        _adapter(LunosEmbeddings), lambda m, p: m.embed_documents(TEXTS), VECTORS
    ),
    "langchain.aembeddings": Style(
        _adapter(LunosEmbeddings), lambda m, p: m.aembed_documents(TEXTS), VECTORS, is_async=True
    ),
    "llama_index.chat": Style(ask=lambda m, p: m.chat(MESSAGES).message.content, **_LLM),
    "llama_index.achat": Style(ask=_achat, **_LLM, **_ASYNC),
    "llama_index.stream_chat": Style(
        ask=lambda m, p: _read(m.stream_chat(MESSAGES), p, _delta), **_LLM, **_STREAM
    ),
    "llama_index.astream_chat": Style(
        ask=lambda m, p: _aread(m.astream_chat(MESSAGES), p, _delta), **_LLM, **_ASTREAM
    ),
    "llama_index.complete": Style(ask=lambda m, p: m.complete("Hello").text, **_LLM),
    "llama_index.structured": Style(ask=_structured, right=ALBUM, **_LLM),
    "llama_index.astructured": Style(ask=_astructured, right=ALBUM, **_LLM, **_ASYNC),
    "llama_index.embeddings": Style(
        _adapter(LunosEmbedding), lambda m, p: m.get_text_embedding_batch(TEXTS), VECTORS
    ),
    "llama_index.aembeddings": Style(
        _adapter(LunosEmbedding),
        lambda m, p: m.aget_text_embedding_batch(TEXTS),
        VECTORS,
        is_async=True,
    ),
}
