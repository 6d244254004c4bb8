"""The log: quiet, with the facts of a retry, without bodies and without the key."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from lunos_core import (
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosServerError,
    LunosTimeoutError,
    chat_request,
    chat_stream_request,
)
from lunos_core.errors import ErrorResponse
from lunos_core.logs import quiet_logger, reason_of
from tests.core.raw_server import RawServer, chunk, http, sse_head
from tests.core.wire_samples import HELLO, Wire, delta, lines, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

KEY = "sk-hush-0123456789"
CHAT = json.dumps(stored("chat")).encode()
SEND, STREAM = chat_request(HELLO, model="m"), chat_stream_request(HELLO, model="m")


def test_the_logger_of_the_core_is_quiet_by_default() -> None:
    import lunos_core.transport.call  # noqa: F401 - makes the logger

    kinds = [type(handler) for handler in logging.getLogger("lunos_core").handlers]
    assert logging.NullHandler in kinds


async def test_no_log_line_of_httpx_or_httpcore_has_the_key(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    whole = sse_head() + chunk(lines([delta("Hello", "stop"), "[DONE]"])) + chunk(b"")
    failing = http(500, b"{}", retry_after="0")
    with caplog.at_level(logging.DEBUG), RawServer(failing, http(body=CHAT), whole) as server:
        client = both.client(base_url=server.url, api_key=KEY)
        await both(client.send(SEND))
        await both.chunks(client, STREAM)
    assert {"httpx", "httpcore.http11", "lunos_core"} <= {item.name for item in caplog.records}
    assert KEY not in caplog.text
    retries = [item for item in caplog.records if item.name == "lunos_core"]
    assert [item.levelno for item in retries] == [logging.INFO]
    assert "attempt 1 failed, next in 0.00 s" in retries[0].getMessage()


@pytest.mark.parametrize(
    ("setting", "wanted"), [(None, False), ("info", False), ("trace", False), ("DEBUG", True)]
)
async def test_bodies_are_logged_only_where_asked_for_and_then_without_the_key(
    both: Both,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    wanted: bool,
) -> None:
    if setting is not None:
        monkeypatch.setenv("LUNOS_LOG", setting)
    answer = {**stored("chat"), "echo": KEY}
    request = chat_request([{"role": "user", "content": f"my words {KEY}"}], model="m")
    with caplog.at_level(logging.DEBUG):
        await both(both.client(Wire(reply(answer)), api_key=KEY).send(request))
    assert ("my words" in caplog.text) is wanted
    assert ("Hello there" in caplog.text) is wanted
    assert KEY not in caplog.text


ANSWERED = ErrorResponse(500, {}, "my words")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LunosConfigError("no key"), "LunosConfigError: no key"),
        (LunosTimeoutError("no answer"), "LunosTimeoutError: no answer"),
        (LunosConnectionError("cut", response=ANSWERED), "LunosConnectionError: cut"),
        (LunosResponseError("my words", response=ANSWERED), "LunosResponseError"),
        (LunosServerError("my words"), "LunosServerError"),
        (
            LunosServerError("my words", status=500, code="c", request_id="r", response=ANSWERED),
            "LunosServerError (status 500, code c, request id r)",
        ),
    ],
)
def test_a_reason_in_the_log_has_facts_and_no_words_of_a_server(
    error: LunosError, reason: str
) -> None:
    assert reason_of(error) == reason


def test_a_logger_gets_one_handler_and_keeps_the_applications() -> None:
    name = "lunos_of_a_test"
    for _ in range(2):
        assert [type(item) for item in quiet_logger(name).handlers] == [logging.NullHandler]
    logging.getLogger(name).handlers[:] = [own := logging.StreamHandler()]
    assert quiet_logger(name).handlers == [own]


async def test_bodies_are_not_logged_where_the_level_is_higher(
    both: Both, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_LOG", "debug")
    with caplog.at_level(logging.INFO):
        await both(both.client(Wire(reply(stored("chat")))).send(SEND))
    assert not [item for item in caplog.records if item.name == "lunos_core"]
