"""The server: the path of a request says which fault it plays, and how its bytes are cut up.

`/<fault>/<cut>/<number>/v1/...`: the first request of a number meets the fault, later ones are
answered rightly. Run as a program, it prints its port.
"""

from __future__ import annotations

import itertools
import socket
import sys
import time
from collections.abc import Iterable, Iterator

from tests.chaos import body_faults, http_faults  # noqa: F401 - they fill FAULTS
from tests.chaos.answers import HALF, answer_to, sized
from tests.chaos.faults import FAULTS
from tests.core.raw_server import Got, RawServer, Step

WHOLE, DRIPPED = "whole", "dripped"
_MOST_DRIPPED = 4000
_PAUSE = 0.001


class ChaosServer(RawServer):
    """Plays faults."""

    def __init__(self) -> None:
        super().__init__(b"")
        self._seen: set[str] = set()

    def _answer(self, got: Got) -> list[Step]:
        self.requests.clear()  # it runs for hours
        _, name, cut, number, *_ = got.line.split(" ")[1].split("/")
        answer = answer_to(got)
        if number in self._seen:
            return [sized(answer)]
        self._seen.add(number)
        return cut_up(FAULTS[name].play(answer), cut)  # type: ignore[return-value]  # lazily

    def _play(self, connection: socket.socket, steps: Iterable[Step | float]) -> bool:
        for step in steps:
            if isinstance(step, float):
                time.sleep(step)
            elif step == HALF:
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5)
                while connection.recv(65536):
                    pass
                return False
            elif not super()._play(connection, [step]):
                return False
        return True


def cut_up(steps: Iterable[Step | float], cut: str) -> Iterator[Step | float]:
    """Send all at once, byte by byte, or in two parts, cut at the boundary of that number."""
    if cut == WHOLE:
        yield from steps
        return
    left = None if cut == DRIPPED else int(cut)
    dripped = 0
    for step in steps:
        if not isinstance(step, bytes):
            yield step
        elif left is None:
            end = min(len(step), max(_MOST_DRIPPED - dripped, 0))
            yield from (step[i : i + 1] for i in range(end))
            yield step[end:]
            dripped += end
        else:
            places = boundaries(step)
            if 0 <= left < len(places):
                yield step[: places[left]]
                yield _PAUSE
                yield step[places[left] :]
            else:
                yield step
            left -= len(places)


def boundaries(data: bytes) -> list[int]:
    """Where a cut may matter: in and around line ends, escapes, names and characters.

    Of long data only the ends: what is in between is filling.
    """
    ends = [*range(1, min(len(data), 1500)), *range(max(1500, len(data) - 500), len(data))]
    return [i for i in ends if data[i - 1] in _MATTERS or data[i] in _MATTERS]


_MATTERS = {*b"\r\n:\\", *range(0x80, 0x100)}


def cuts_of(name: str, *, streamed: bool) -> int:
    """How many boundaries a fault's bytes have, in answer to a chat request."""
    asked = b'{"stream": true}' if streamed else b"{}"
    answer = answer_to(Got("POST /chat/completions HTTP/1.1", {}, asked, 0))
    steps = itertools.islice(FAULTS[name].play(answer), 4)  # some never end
    return sum(len(boundaries(step)) for step in steps if isinstance(step, bytes))


def main() -> None:
    with ChaosServer() as server:
        print(server.port, flush=True)
        sys.stdin.read()  # until the parent goes


if __name__ == "__main__":
    main()
