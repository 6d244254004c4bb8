"""`Lunos` and `AsyncLunos`, as the API reference's Python example has them; and the ledger."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import (
    AsyncLunos,
    AsyncStream,
    CallRecord,
    Lunos,
    LunosConfigError,
    LunosRateLimitError,
    LunosServerError,
    Stream,
    UsageLedger,
    chat_request,
    chat_stream_request,
)
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both


def lunos_of(both: Both, wire: Wire | None = None, **settings: Any) -> Any:
    if wire is not None:
        settings |= {"api_key": "k", "http_client": both.http_client(wire)}
    return both.closing((AsyncLunos if both.is_async else Lunos)(**settings))


async def test_the_references_example_sends_its_app_id(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    lunos = lunos_of(both, wire)
    response = await both(
        lunos.chat.completions.create(
            model="openai/gpt-4",
            messages=[{"role": "user", "content": "Hello"}],
            app_id="my-python-app",
        )
    )
    assert response.choices[0].message.content == "Hello there"
    assert response.usage.prompt_tokens == 9
    assert str(wire.sent.url) == "https://api.lunos.tech/v1/chat/completions"
    assert wire.sent.headers["X-App-ID"] == "my-python-app"
    assert wire.bodies == [
        {"model": "openai/gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
    ]


async def test_a_stream_is_an_iterator_and_a_context_manager(both: Both) -> None:
    wire = Wire(stream([delta("Hello"), delta(" there", "stop"), "[DONE]"]))
    lunos = lunos_of(both, wire)
    call = {"model": "m", "messages": HELLO, "stream": True}
    opened = await both(lunos.chat.completions.create(**call))
    assert isinstance(opened, AsyncStream if both.is_async else Stream)
    texts = []
    if both.is_async:
        async with opened as chunks:
            texts.append((await anext(chunks)).text)
            texts += [chunk.choices[0].delta.content async for chunk in chunks if chunk.choices]
    else:
        with opened as chunks:
            texts.append(next(chunks).text)
            texts += [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert texts == ["Hello", " there"]


async def test_completions_and_embeddings_have_the_same_face(both: Both) -> None:
    lunos = lunos_of(both, Wire(reply(stored("completion_envelope"))))
    answer = await both(lunos.completions.create(model="m", prompt="Once", app_id="a"))
    assert answer.choices[0].text == "Hello there"
    wire = Wire(stream([{"choices": [{"text": "upon", "finish_reason": "stop"}]}, "[DONE]"]))
    lunos = lunos_of(both, wire)
    pieces = await both(lunos.completions.create(model="m", prompt="Once", stream=True))
    assert [chunk.text async for chunk in both.each(pieces)] == ["upon", ""]
    lunos = lunos_of(both, Wire(reply(stored("embeddings"))))
    answer = await both(lunos.embeddings.create(model="m", input=["a", "b", "c"], app_id="a"))
    assert len(answer.vectors) == 3


async def test_messages_are_checked_before_anything_is_sent(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    create = lunos_of(both, wire).chat.completions.create
    for bad in ("Hello", [{"role": "human", "content": "x"}]):
        for streamed in (False, True):
            with pytest.raises((TypeError, ValueError), match="messages"):
                await both(create(model="m", messages=bad, stream=streamed))
    assert wire.requests == []


async def test_settings_come_from_the_environment(
    both: Both, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LunosConfigError, match="LUNOS_API_KEY"):
        await both(lunos_of(both).chat.completions.create(model="m", messages=HELLO))
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url.removesuffix("/v1"))
    monkeypatch.setenv("LUNOS_APP_ID", "from-the-environment")
    lunos = lunos_of(both, max_retries=0)
    answer = await both(lunos.chat.completions.create(model="lunos/scripted", messages=HELLO))
    assert answer.text
    assert answer.request_id
    assert gateway.requests()[-1]["app_id"] == "from-the-environment"
    with pytest.raises(LunosRateLimitError):
        await both(lunos.chat.completions.create(model="lunos/error-429", messages=HELLO))


# --- observers and the ledger --------------------------------------------------------------------

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
EVENTS = [delta("Hello", "stop"), {"choices": [], "usage": USAGE}, "[DONE]"]


async def test_an_observer_hears_of_every_call_once(both: Both) -> None:
    heard: list[CallRecord] = []
    failing = reply({"error": {"message": "No"}}, 500, retry_after="0")
    wire = Wire(failing, reply(stored("chat")), stream(EVENTS), stream(EVENTS), failing)
    client = both.client(wire, observers=[heard.append], max_retries=1, app_id="app")
    await both(client.send(chat_request(HELLO, model="m")))
    await both.chunks(client, chat_stream_request(HELLO, model="s", app_id="other"))
    left = await both(client.stream(chat_stream_request(HELLO, model="left")))
    async for _ in both.each(left):
        break
    await both(left.close())
    with pytest.raises(LunosServerError) as caught:
        await both(client.send(chat_request(HELLO, model="m")))
    result = [(r.app_id, r.model, r.attempts, r.usage and r.usage.total_tokens) for r in heard]
    assert result == [
        ("app", "m", 2, 12),
        ("other", "s", 1, 12),
        ("app", "left", 1, 12),  # all of its bytes had come, and the usage with them
        ("app", "m", 2, None),
    ]
    assert [record.error for record in heard] == [None, None, None, caught.value]
    assert [record.endpoint for record in heard] == ["/chat/completions"] * 4
    assert [record.first_token_seconds is not None for record in heard] == [
        False,
        True,
        True,
        False,
    ]


async def test_a_consumer_that_stops_at_the_last_chunk_has_its_usage_counted(both: Both) -> None:
    heard: list[CallRecord] = []
    client = both.client(Wire(stream(EVENTS)), observers=[heard.append])
    pieces = await both(client.stream(chat_stream_request(HELLO, model="m")))
    async for piece in both.each(pieces):
        if piece.usage:
            break
    await both(pieces.close())
    assert [record.usage and record.usage.total_tokens for record in heard] == [12]


async def test_a_ledger_counts_what_happens_in_its_block(both: Both) -> None:
    failing = reply({"error": {"message": "No"}}, 500, retry_after="0")
    wire = Wire(failing, reply(stored("chat")), reply(stored("chat")), stream(EVENTS), failing)
    client = both.client(wire, max_retries=1)
    with UsageLedger() as outer:
        await both(client.send(chat_request(HELLO, model="m", app_id="a")))
        with UsageLedger() as inner:
            await both(client.send(chat_request(HELLO, model="m", app_id="a")))
        await both.chunks(client, chat_stream_request(HELLO, model="m"))
        with pytest.raises(LunosServerError):
            await both(client.send(chat_request(HELLO, model="m")))
    with pytest.raises(LunosServerError):
        await both(client.send(chat_request(HELLO, model="m", app_id="after")))
    names = ("app_id", "calls", "errors", "retries", "input_tokens", "output_tokens")
    assert [tuple(row[name] for name in names) for row in outer.rows()] == [
        ("a", 2, 0, 1, 18, 6),
        ("Unknown", 2, 1, 1, 9, 3),
    ]
    assert [row["calls"] for row in inner.rows()] == [1]
    assert [row["cost"] for row in outer.rows()] == [0.00024, None]  # the stream tells no cost


async def test_a_ledger_counts_in_tasks_and_in_threads_that_carry_the_context() -> None:
    from lunos_core.accounting.observers import active_observers

    with UsageLedger():
        assert len(await asyncio.create_task(_observers())) == 1
        assert len(await asyncio.to_thread(active_observers)) == 1
        result: list[Any] = []
        bare = threading.Thread(target=lambda: result.extend(active_observers()))
        bare.start()
        bare.join()
        assert result == []


async def _observers() -> Any:
    from lunos_core.accounting.observers import active_observers

    return active_observers()
