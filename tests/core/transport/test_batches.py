"""What has arrived is read at once, and nothing that has arrived waits for what has not."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunos_core import Client, Config, LunosStreamInterruptedError, chat_stream_request
from lunos_core.transport.batches import abatches, batches
from lunos_core.transport.deadline import Patience
from tests.core.raw_server import CLOSE, STALL, RawServer, chunk, sse_head
from tests.core.wire_samples import HELLO, delta, lines

if TYPE_CHECKING:
    from tests.conftest import Both

STREAM = chat_stream_request(HELLO, model="m")
WORDS = [f"word{at} " for at in range(40)]
EVENTS = [lines([delta(word)]) for word in WORDS]
END = chunk(lines([delta("", "stop"), "[DONE]"])) + chunk(b"")


async def show(both: Both, stream: Any, shown: list[str]) -> None:
    async for piece in both.each(stream):
        shown.append(piece.text)  # noqa: PERF401 - what came before an error is wanted, too


@pytest.mark.parametrize("rest", [b"", b"5", b"100\r\n", b"100\r\ndata: {", b"1000;name=value\r\n"])
async def test_all_that_has_come_is_shown_before_the_server_goes_on(
    both: Both, rest: bytes
) -> None:
    burst = b"".join(map(chunk, EVENTS)) + rest
    with RawServer([sse_head(), burst, STALL]) as server:
        client = both.client(base_url=server.url, timeout=20)
        stream = await both(client.stream(STREAM))
        shown = []
        # the stall is for ever: without what is at hand being shown, this would time out
        async with asyncio.timeout(10):
            async for piece in both.each(stream):
                shown.append(piece.text)
                if len(shown) == len(WORDS):
                    break
        assert shown == WORDS
        await both(stream.close())


def extended(data: bytes) -> bytes:
    """A chunk with an extension, as RFC 9112 allows: its frame is of any length."""
    return f"{len(data):x};signature={'0' * 64}\r\n".encode() + data + b"\r\n"


async def test_frames_of_any_length_hold_nothing_back(both: Both) -> None:
    burst = b"".join(map(extended, EVENTS))
    with RawServer([sse_head(), burst, STALL]) as server:
        stream = await both(both.client(base_url=server.url, timeout=20).stream(STREAM))
        shown = []
        async with asyncio.timeout(10):
            async for piece in both.each(stream):
                shown.append(piece.text)
                if len(shown) == len(WORDS):
                    break
        assert shown == WORDS
        await both(stream.close())


async def test_what_came_before_the_connection_broke_is_shown(both: Both) -> None:
    burst = sse_head() + b"".join(map(chunk, EVENTS)) + b"nonsense\r\n"
    with RawServer([burst, CLOSE]) as server:
        stream = await both(both.client(base_url=server.url).stream(STREAM))
        shown: list[str] = []
        with pytest.raises(LunosStreamInterruptedError) as caught:
            await show(both, stream, shown)
        assert shown == WORDS
        assert caught.value.partial.text == "".join(WORDS)


async def test_what_came_before_an_event_that_makes_no_sense_is_shown(both: Both) -> None:
    burst = sse_head() + b"".join(map(chunk, [*EVENTS, b"data: [1]\n\n", *EVENTS]))
    with RawServer([burst, STALL]) as server:
        stream = await both(both.client(base_url=server.url).stream(STREAM))
        shown: list[str] = []
        with pytest.raises(Exception, match="makes no sense"):
            await show(both, stream, shown)
        assert shown == WORDS


async def test_compressed_streams_are_read_as_they_come(both: Both) -> None:
    body = gzip.compress(b"".join(EVENTS) + lines([delta("", "stop"), "[DONE]"]))
    cut = len(body) // 2
    sent = sse_head(content_encoding="gzip"), chunk(body[:cut]), chunk(body[cut:]), chunk(b"")
    with RawServer(list(sent)) as server:
        client = both.client(base_url=server.url)
        found = await both.chunks(client, STREAM)
        assert found[-1].last.text == "".join(WORDS)


class Broken(Exception):
    pass


def in_hand(count: int) -> Patience:
    patience = Patience(None, 1_000_000)
    patience.arrived(b"data: a\n\n" * count)
    return patience


async def of(pieces: list[bytes]) -> AsyncGenerator[bytes]:
    """The same for both: pieces, then an error."""
    for piece in pieces:
        yield piece
    raise Broken


def sync_of(pieces: list[bytes]) -> Generator[bytes]:
    yield from pieces
    raise Broken


async def test_bytes_at_hand_come_together_and_before_the_error_behind_them() -> None:
    pieces = [b"a\n\n", b"b\n\n", b"c\n\n"]
    for count, wanted in ((10, [b"".join(pieces)]), (0, pieces)):
        found: list[bytes] = []
        with pytest.raises(Broken):
            found.extend(one for one in _noting(batches(sync_of(pieces), in_hand(count)), found))
        with pytest.raises(Broken):
            await _anoting(abatches(of(pieces), in_hand(count)), found)
        assert found == wanted * 2


def _noting(source: Iterator[bytes], found: list[bytes]) -> Iterator[bytes]:
    for one in source:
        found.append(one)
        yield from ()


async def _anoting(source: AsyncIterator[bytes], found: list[bytes]) -> None:
    async for one in source:
        found.append(one)  # noqa: PERF401 - what came before an error is wanted, too


async def test_the_end_may_come_while_more_was_thought_to_be_at_hand() -> None:
    async def whole() -> AsyncGenerator[bytes]:
        yield b"a\n\n"
        yield b"b"

    assert list(batches(iter([b"a\n\n", b"b"]), in_hand(9))) == [b"a\n\nb"]
    assert [one async for one in abatches(whole(), in_hand(9))] == [b"a\n\nb"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_however_the_bytes_are_framed_and_cut_the_chunks_are_the_same(data: Any) -> None:
    body = b"".join(EVENTS) + lines([delta("", "stop"), "[DONE]"])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=30)))
    framed = [chunk(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    wire = b"".join(framed) + chunk(b"")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=10)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    with (
        RawServer([sse_head(), *pieces]) as server,
        Client(Config(api_key="k", base_url=server.url)) as client,
    ):
        found = list(client.stream(STREAM))
    assert "".join(one.text for one in found) == "".join(WORDS)
    assert [one.text for one in found if one.text] == WORDS
    assert found[-1].last is not None


def test_a_slow_reader_reads_what_has_come_and_no_more_than_a_buffer_of_it() -> None:
    """Reading ahead is bounded by what one read of the socket gives."""
    many = b"".join(chunk(lines([delta("x" * 1000)])) for _ in range(2000))
    with RawServer([sse_head() + many + END]) as server:
        client = Client(Config(api_key="k", base_url=server.url))
        with client.stream(STREAM) as stream:
            next(stream)
            reader: Any = stream._chunks.gi_frame.f_locals["call"]._reader  # type: ignore[attr-defined]  # no public way
            ahead = len(reader.partial().text)
            assert ahead <= 64 * 1024
            threading.Event().wait(0.05)
            assert len(reader.partial().text) == ahead
        client.close()
