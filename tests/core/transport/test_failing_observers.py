"""An observer that fails costs the caller nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import LunosNotFoundError, chat_request, chat_stream_request
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both


def broken(call: Any) -> None:
    raise RuntimeError("the disk is full")


async def test_an_observer_that_raises_is_logged_and_the_answer_arrives(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    answers = (reply(stored("chat")), stream([delta("Hi", "stop"), "[DONE]"]))
    client = both.client(Wire(*answers), observers=[broken, seen.append])
    with caplog.at_level(logging.ERROR):
        assert (await both(client.send(chat_request(HELLO, model="m")))).text
        assert len(caplog.records) == 1
        chunks = await both.chunks(client, chat_stream_request(HELLO, model="m"))
    assert "".join(chunk.text for chunk in chunks) == "Hi"
    assert len(caplog.records) == 2
    assert len(seen) == 2, "the next observer hears of the call all the same"


async def test_an_observer_that_raises_hides_no_error(both: Both) -> None:
    client = both.client(Wire(reply({"error": {"message": "No"}}, 404)), observers=[broken])
    with pytest.raises(LunosNotFoundError):
        await both(client.send(chat_request(HELLO, model="m")))
