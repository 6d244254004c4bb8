"""The log: quiet, with the facts of a retry, without bodies and without the key."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from lunos_core import chat_request, chat_stream_request
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


@pytest.mark.parametrize("wanted", [False, True])
async def test_bodies_are_logged_only_where_asked_for_and_then_without_the_key(
    both: Both, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    if wanted:
        monkeypatch.setenv("LUNOS_LOG", "debug")
    answer = {**stored("chat"), "echo": KEY}
    request = chat_request([{"role": "user", "content": f"my words {KEY}"}], model="m")
    with caplog.at_level(logging.DEBUG):
        await both(both.client(Wire(reply(answer)), api_key=KEY).send(request))
    assert ("my words" in caplog.text) is wanted
    assert ("Hello there" in caplog.text) is wanted
    assert KEY not in caplog.text
