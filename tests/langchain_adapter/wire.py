"""A model of this adapter on top of `core.wires`, asked in every way that LangChain knows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
from tests.core.wire_samples import Wire as Wire
from tests.core.wire_samples import delta as delta
from tests.core.wire_samples import lines as lines
from tests.core.wire_samples import raw as raw
from tests.core.wire_samples import reply as reply
from tests.core.wire_samples import stored as stored
from tests.core.wire_samples import stream as stream
from tests.core.wire_samples import stream_of as stream_of

KEY = "sk-test-4f9a1c"
SETTINGS = {"model": "m", "api_key": KEY, "base_url": "https://lunos.test", "max_retries": 0}

WAYS = ("invoke", "ainvoke", "stream", "astream", "v3", "av3")
WHOLE = ("invoke", "ainvoke")
STREAMED = ("stream", "astream", "v3", "av3")


def clients(wire: Callable[[httpx.Request], httpx.Response]) -> dict[str, Any]:
    """Both httpx clients, answered by `wire`."""
    transport = httpx.MockTransport(wire)
    return {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }


def chat(wire: Any, **settings: Any) -> ChatLunos:
    return ChatLunos(**{**SETTINGS, **clients(wire), **settings})


def llm(wire: Any, **settings: Any) -> LunosLLM:
    return LunosLLM(**{**SETTINGS, **clients(wire), **settings})


def embeddings(wire: Any, **settings: Any) -> LunosEmbeddings:
    return LunosEmbeddings(**{**SETTINGS, **clients(wire), **settings})


async def ask(model: Any, way: str, input: Any = "Hello", /, **kwargs: Any) -> Any:
    """The message, asked for in one of `WAYS`; of a stream, its chunks added up."""
    if way == "invoke":
        return model.invoke(input, **kwargs)
    if way == "ainvoke":
        return await model.ainvoke(input, **kwargs)
    if way in ("v3", "av3"):
        with beta():
            if way == "v3":
                return model.stream_events(input, version="v3", **kwargs).output
            return await (await model.astream_events(input, version="v3", **kwargs)).output
    whole: AIMessageChunk | None = None
    for chunk in await chunks(model, way, input, **kwargs):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


async def chunks(model: Any, way: str, input: Any = "Hello", /, **kwargs: Any) -> list[Any]:
    """The pieces of `stream` or `astream`."""
    if way == "stream":
        return list(model.stream(input, **kwargs))
    return [chunk async for chunk in model.astream(input, **kwargs)]


@contextmanager
def beta() -> Iterator[None]:
    """`stream_events(version="v3")` warns that it is young."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(beta|experimental).*")
        yield


def answer(content: Any = "Hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole answer of the wire; more fields of its message by name."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "gen-1",
        "created": 1_700_000_000,
        "model": "served",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 0.5},
    }


def streamed(*deltas: dict[str, Any], finish: str = "stop", done: bool = True) -> Any:
    """A streamed answer of the wire, made of deltas."""
    head = {"id": "gen-1", "created": 1_700_000_000, "model": "served"}
    events: list[Any] = [
        {**head, "choices": [{"index": 0, "delta": item, "finish_reason": None}]} for item in deltas
    ]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 0.5}
    events.append({**head, "choices": [], "usage": usage})
    return stream([*events, "[DONE]"] if done else events)


def both_kinds(content: Any = "Hi", finish: str = "stop", **message: Any) -> Wire:
    """Answers the same, streamed or whole, as each request asks."""
    whole = reply(answer(content, finish, **message))
    first = {} if content is None else {"content": content}
    calls = [{"index": i, **call} for i, call in enumerate(message.get("tool_calls") or ())]
    parts = streamed(
        {**first, **message, **({"tool_calls": calls} if calls else {})}, finish=finish
    )

    class Either(Wire):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return parts() if b'"stream":true' in request.content else whole()

    return Either(whole)


def call(
    name: str = "weather", arguments: str = '{"city":"Rome"}', id: str = "c1"
) -> dict[str, Any]:
    """A tool call of the wire."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def sent_messages(wire: Wire, i: int = -1) -> Any:
    """The messages of one request."""
    return wire.bodies[i]["messages"]


def blocks(message: AIMessage) -> list[Any]:
    """The content blocks without what differs from way to way: indexes and made-up ids."""
    return [
        {name: value for name, value in block.items() if name != "index"}
        for block in message.content_blocks
    ]
