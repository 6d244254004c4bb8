"""An observer that fails costs the caller nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import LunosNotFoundError, chat_request, chat_stream_request
from lunos_core.accounting import observers
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both


def broken(call: Any) -> None:
    raise RuntimeError("the disk is full")


async def test_an_observer_that_raises_is_logged_once_and_the_answers_arrive(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(call: Any) -> None:
        raise RuntimeError("the disk is full")

    observers._failures.clear()
    seen: list[Any] = []
    answers = (reply(stored("chat")), stream([delta("Hi", "stop"), "[DONE]"]))
    client = both.client(Wire(*answers), observers=[broken, seen.append])
    with caplog.at_level(logging.ERROR):
        assert (await both(client.send(chat_request(HELLO, model="m")))).text
        assert len(caplog.records) == 1
        chunks = await both.chunks(client, chat_stream_request(HELLO, model="m"))
    assert "".join(chunk.text for chunk in chunks) == "Hi"
    assert len(caplog.records) == 1, "not once for each call"
    assert "the disk is full" in caplog.text
    assert len(seen) == 2, "the next observer hears of the call all the same"


async def test_an_observer_that_raises_hides_no_error(both: Both) -> None:
    client = both.client(Wire(reply({"error": {"message": "No"}}, 404)), observers=[broken])
    with pytest.raises(LunosNotFoundError):
        await both(client.send(chat_request(HELLO, model="m")))


class Broken:
    """An observer with methods, which fails as it is told."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def hear(self, call: Any) -> None:
        raise self.failure

    def closure(self) -> Any:
        return lambda call: self.hear(call)


async def test_each_observer_and_each_kind_of_failure_is_logged_once(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    observers._failures.clear()
    first, second = Broken(OSError("full")), Broken(OSError("full"))
    hears = [first.hear, second.hear, first.closure()]
    client = both.client(Wire(reply(stored("chat"))), observers=hears)
    request = chat_request(HELLO, model="m")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            await both(client.send(request))
        assert len(caplog.records) == 3
        first.failure = ValueError("odd")
        for _ in range(5):
            await both(client.send(request))
    assert len(caplog.records) == 5, "the first one's new failure, from its two observers"
