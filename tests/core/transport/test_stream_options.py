"""A server that refuses `stream_options` is asked without it, and not asked again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import LunosBadRequestError, chat_stream_request
from lunos_core.errors import ErrorResponse
from lunos_core.transport.stream_call import refuses_stream_options
from tests.core.wire_samples import HELLO, delta, reply, stream

if TYPE_CHECKING:
    from tests.conftest import Both

REQUEST = chat_stream_request(HELLO, model="m")
REFUSALS = [
    reply({"error": {"message": "Unknown field: stream_options"}}, 400),
    reply({"error": {"message": "Bad request", "param": "stream_options.include_usage"}}, 400),
    reply({"detail": [{"loc": ["body", "stream_options"], "msg": "extra inputs"}]}, 422),
    reply({"message": "Stream options can't be used with this model"}, 400),
    reply({"error": 'invalid field "streamOptions"'}, 422),
    reply({"error": {"message": "Provider error", "metadata": {"raw": "Include_Usage?"}}}, 400),
]


class Strict:
    """A server that refuses `stream_options`."""

    def __init__(self, refusal: Any) -> None:
        self.refusal = refusal
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        if "stream_options" in self.bodies[-1]:
            return self.refusal()  # type: ignore[no-any-return]  # an answer of `Wire`
        answer = stream([delta("Hi", "stop"), "[DONE]"])
        return answer()  # type: ignore[no-any-return]  # as above

    @property
    def asked(self) -> list[bool]:
        return ["stream_options" in body for body in self.bodies]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_server_that_refuses_stream_options_is_asked_without_and_remembered(
    both: Both, refusal: Any
) -> None:
    wire = Strict(refusal)
    client = both.client(wire, max_retries=0)
    for _ in range(2):
        chunks = await both.chunks(client, REQUEST)
        assert "".join(chunk.text for chunk in chunks) == "Hi"
    assert wire.asked == [True, False, False]
    assert {key: wire.bodies[0][key] for key in wire.bodies[1]} == wire.bodies[1]
    await both.chunks(client, chat_stream_request(HELLO, model="another"))
    assert wire.asked[3:] == [True, False], "another model may be served by another server"


@pytest.mark.parametrize(
    ("status", "said", "refuses"),
    [
        *((400, "stream_options", True), (422, "include_usage", True), (400, "temperature", False)),
        *((500, "stream_options", False), (404, "include_usage", False)),
    ],
)
def test_a_refusal_is_known_by_its_words_wherever_they_stand(
    status: int, said: str, refuses: bool
) -> None:
    for facts in ({"param": said}, {"code": said}, {"response": ErrorResponse(status, {}, said)}):
        error = LunosBadRequestError("No", status=status, **facts)
        assert refuses_stream_options(error) is refuses
    assert refuses_stream_options(LunosBadRequestError(said, status=status)) is refuses


async def test_an_error_that_only_quotes_the_request_teaches_nothing(both: Both) -> None:
    quoted = reply({"error": {"message": "too long", "request": {"stream_options": {}}}}, 400)
    answers = [quoted, quoted, stream([delta("Hi", "stop"), "[DONE]"])]
    bodies: list[bytes] = []

    def play(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return answers.pop(0)()

    client = both.client(play)
    with pytest.raises(LunosBadRequestError, match="too long"):
        await both.chunks(client, REQUEST)
    await both.chunks(client, REQUEST)
    assert [b"stream_options" in body for body in bodies] == [True, False, True]


async def test_a_refusal_of_what_was_not_sent_is_not_retried(both: Both) -> None:
    answers = iter([REFUSALS[0]()])
    request = chat_stream_request(HELLO, model="m", stream_options={})
    assert b"stream_options" not in request.body
    with pytest.raises(LunosBadRequestError, match="stream_options"):
        await both.chunks(both.client(lambda _: next(answers)), request)


async def test_another_refusal_is_not_retried(both: Both) -> None:
    wire = Strict(reply({"error": {"message": "Unknown field: temperature"}}, 400))
    client = both.client(wire)
    with pytest.raises(LunosBadRequestError, match="temperature"):
        await both.chunks(client, REQUEST)
    assert len(wire.bodies) == 1


async def test_both_adapters_profit_and_live_without_the_usage() -> None:
    langchain = pytest.importorskip("langchain_lunos")
    llama_index = pytest.importorskip("llama_index_lunos")
    wire = Strict(REFUSALS[0])
    http = httpx.Client(transport=httpx.MockTransport(wire))
    http_async = httpx.AsyncClient(transport=httpx.MockTransport(wire))
    settings: dict[str, Any] = {"model": "m", "api_key": "k", "http_client": http}
    chat = langchain.ChatLunos(**settings, http_async_client=http_async)
    llm = llama_index.Lunos(**settings, async_http_client=http_async)
    assert "".join(chunk.text for chunk in chat.stream("Hi")) == "Hi"
    assert "".join([chunk.text async for chunk in chat.astream("Hi")]) == "Hi"
    assert [chunk.text for chunk in llm.stream_complete("Hi")][-1] == "Hi"
    assert [chunk.text async for chunk in await llm.astream_complete("Hi")][-1] == "Hi"
    assert wire.asked == [True, False] * 4
    await http_async.aclose()
