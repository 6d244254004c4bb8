"""The decoder of server-sent events: the same events however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunos_core.wire.sse import SSEDecoder

TRANSCRIPTS: dict[str, tuple[str, list[str]]] = {
    "line feeds": ("data: a\n\ndata: b\n\n", ["a", "b"]),
    "carriage returns and line feeds": ("data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    "carriage returns alone": ("data: a\r\rdata: b\r\r", ["a", "b"]),
    "all three mixed": ("data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\n\n", ["a", "b", "c", "d"]),
    "a separator that is no line end": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n",
        ["a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"],
    ),
    "characters of two, three and four bytes": ("data: ç€😀\r\n\r\n", ["ç€😀"]),
    "a byte order mark": ("\ufeffdata: a\n\n", ["a"]),
    "a byte order mark that is text": ("data: \ufeffa\n\n\ufeffdata: b\n\n", ["\ufeffa"]),
    "a byte order mark after a line": ("\n\ufeffdata: a\n\n", []),
    "comments": (": keep-alive\n\n:\ndata: a\n: within\ndata: b\n\n: last\n\n", ["a\nb"]),
    "data in several lines": ("data: a\ndata: b\ndata:\ndata: c\n\n", ["a\nb\n\nc"]),
    "lines of data, cut between the two": ("data: a\r\ndata: b\r\n\r\n", ["a\nb"]),
    "a tab is no space": ("data:\ta\n\n", ["\ta"]),
    "no space, and two spaces": ("data:a\n\ndata:  b\n\n", ["a", " b"]),
    "a field without a colon": ("data\n\ndatax: n\ndata: a\n\n", ["", "a"]),
    "other fields": ("event: m\nid: 7\nretry: 10\ndata: a\n\n", ["a"]),
    "colons in the data": ('data: {"a": "b:c"}\n\n', ['{"a": "b:c"}']),
    "no blank line at the end": ("data: a\n\ndata: b\n", ["a", "b"]),
    "no line end at the end": ("data: a\n\ndata: b", ["a", "b"]),
    "a carriage return at the end": ("data: a\r", ["a"]),
    "blank lines only": ("\n\r\n\r\r\n\n", []),
    "nothing": ("", []),
}


def decode(pieces: list[bytes]) -> list[bytes]:
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_split_size_gives_the_same_events(name: str) -> None:
    text, events = TRANSCRIPTS[name]
    body = text.encode()
    for size in range(1, len(body) + 2):
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        assert decode(pieces) == [event.encode() for event in events], f"in pieces of {size}"


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_split_point_gives_the_same_events(name: str) -> None:
    text, events = TRANSCRIPTS[name]
    body = text.encode()
    for i in range(len(body) + 1):
        pieces = [body[:i], b"", body[i:]]
        assert decode(pieces) == [event.encode() for event in events], f"cut at {i}"


def test_an_event_is_given_with_its_blank_line_and_not_later() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    # a lone \r ends a line at once: a server that waits for us must not wait for ever
    assert decoder.feed(b"data: b\r\n\r") == [b"b"]
    assert decoder.feed(b"\ndata: c\n\n") == [b"c"]


def test_closing_twice_gives_the_last_event_once() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: a")
    assert [decoder.close(), decoder.close()] == [[b"a"], []]


_line = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=8
).map(str.encode)
_event = st.lists(_line, min_size=1, max_size=3)
_end = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    events=st.lists(_event, max_size=5),
    end=_end,
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_any_split_of_any_events_gives_what_was_sent(
    events: list[list[bytes]], end: bytes, cuts: list[int]
) -> None:
    lines = [
        line for event in events for line in (b": c", *(b"data: " + item for item in event), b"")
    ]
    body = b"".join(line + end for line in lines)
    points = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:stop] for start, stop in itertools.pairwise(points)]
    assert decode(pieces) == [b"\n".join(event) for event in events]


@given(body=st.binary(max_size=80), cut=st.integers(0, 80))
def test_any_bytes_are_read_alike_whole_and_cut(body: bytes, cut: int) -> None:
    assert decode([body[:cut], body[cut:]]) == decode([body]) == decode([bytes([b]) for b in body])
