"""Decode server-sent events (WHATWG HTML, section 9.2), however the bytes are split.

Only `data` matters on this wire: `event`, `id` and `retry` are skipped, as are comment lines
(`: OPENROUTER PROCESSING`, keep-alive comments).
"""

from __future__ import annotations

from lunos_core.wire.text import BOM


class SSEDecoder:
    r"""Collects bytes and returns the `data` of each complete event.

    Time and memory are linear in the input: a line that arrives in many pieces is joined once.

    Example:
        >>> from lunos_core.wire.sse import SSEDecoder
        >>> decoder = SSEDecoder()
        >>> decoder.feed(b': keep-alive\n\ndata: {"a"')
        []
        >>> decoder.feed(b': 1}\r\n\r\n')
        [b'{"a": 1}']
    """

    __slots__ = ("_carriage", "_data", "_first", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the incomplete line
        self._data: list[bytes] = []  # the data lines of the incomplete event
        self._carriage = False  # the last byte was \r: a following \n belongs to it
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the data of every event that they complete."""
        if self._carriage and chunk:
            self._carriage = False
            chunk = chunk.removeprefix(b"\n")
        # not splitlines(), which also splits at U+2028 and others, which models write
        if b"\r" in chunk:
            self._carriage = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            self._pieces.append(chunk)
            return []
        if self._pieces:
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._pieces.clear()
        rest = lines.pop()
        if rest:
            self._pieces.append(rest)
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(BOM)
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(b"\n".join(data))
                    data.clear()
            elif line[:5] == b"data:":
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                data.append(b"")
        return events

    def close(self) -> list[bytes]:
        """Return the data of a last event that lacks only its blank line.

        The standard drops such an event, but some servers hang up one byte too early.
        """
        return self.feed(b"\n\n")


class PlainPieces:
    """Replaces `SSEDecoder` for a body without events: each piece counts as one."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the next bytes unchanged."""
        return [chunk] if chunk else []

    def close(self) -> list[bytes]:
        """Return nothing, since nothing is kept back."""
        return []
