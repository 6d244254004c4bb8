"""Start the server and one process per client, ask them in turn, and collect the figures."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measures import Measure
from benchmarks.peers import BASE_IMPORTS, BY_NAME, import_statement

Answer = dict[str, Any]
Results = dict[str, dict[str, list[Answer | None]]]
"""Measure, client, repetition: what was measured, or `None` where it was left out."""

_ROOT = Path(__file__).resolve().parent.parent
_TOO_SLOW = 3.0  # seconds: a client that takes longer is asked in the first two repetitions only


def cores() -> tuple[set[int], set[int]]:
    """Return the core of the server, and the core of the clients."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


class Server:
    """The loopback server, as a process."""

    def __init__(self) -> None:
        self._process = _start([sys.executable, "-m", "benchmarks.server"], cores()[0])
        assert self._process.stdout is not None
        self.root = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def counts(self) -> Answer:
        """Return what the server counted since the last request."""
        with urllib.request.urlopen(f"{self.root}/counts") as answer:  # noqa: S310 - our own server
            counts: Answer = json.load(answer)
        counts["connections"] -= 1 if counts["connections"] else 0  # this question's own
        return counts

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Client:
    """The process of one client. It is restarted if it dies or hangs."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self.missing = ""
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as this object

    def start(self) -> bool:
        """Start the process; return whether the client could be loaded. `missing` says why not."""
        command = [self._python, "-m", "benchmarks.worker", self.name]
        try:
            self._process = _start(command, cores()[1], log=self._log)
        except OSError as error:
            self.missing = str(error)
            return False
        answer = self._read(60)
        self.missing = str(answer.get("missing") or answer.get("error") or "")
        return not self.missing

    def ask(self, measure: str, timeout: float = 150, **arguments: Any) -> Answer:
        """What a measure gives, or `{"error": …}`."""
        if (self._process is None or self._process.poll() is not None) and not self.start():
            return {"error": self.missing}
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"measure": measure, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read(timeout)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _read(self, timeout: float) -> Answer:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            self._log.seek(0)
            last = self._log.read().strip().rpartition("\n")[2][:200]
            return {"error": f"died: {last}" if ready else f"no answer within {timeout:g} s"}
        answer: Answer = json.loads(line)
        return answer


class Bench:
    """The clients that could be loaded, and the server that they ask."""

    def __init__(self, names: Sequence[str], pythons: Mapping[str, str]) -> None:
        self.server = Server()
        self.pythons = {name: pythons.get(name, sys.executable) for name in names}
        self.clients: dict[str, Client] = {}
        self.left_out: dict[str, str] = {}
        for name in names:
            client = Client(name, self.pythons[name])
            if client.start():
                self.clients[name] = client
            else:
                self.left_out[name] = client.missing

    def run(self, measure: Measure, repetitions: int) -> dict[str, list[Answer | None]]:
        """Run one measure interleaved: each repetition asks every client, in rotated order."""
        names = [name for name in self.clients if measure.concerns(BY_NAME[name])]
        found: dict[str, list[Answer | None]] = {name: [] for name in names}
        done: set[str] = set()
        for repetition in range(repetitions):
            at = repetition % max(len(names), 1)
            for name in names[at:] + names[:at]:
                if name in done:
                    found[name].append(None)
                    continue
                answer = self._ask(measure, name)
                found[name].append(answer)
                slow = answer.get("seconds", 0) > _TOO_SLOW and repetition >= 1
                if slow or answer.get("seconds", 0) > 5 * _TOO_SLOW or "error" in answer:
                    done.add(name)
        return found

    def close(self) -> None:
        """End every process."""
        for client in self.clients.values():
            client.close()
        self.server.close()

    def _ask(self, measure: Measure, name: str) -> Answer:
        if measure.verb == "imports":
            return _imports(name, self.pythons[name])
        url = f"{self.server.root}/{measure.path}/v1"
        client = self.clients[name]
        if measure.fresh:
            client = Client(name, self.pythons[name])
        self.server.counts()
        answer = client.ask(measure.verb, url=url, **measure.arguments)
        if measure.fresh:
            client.close()
        counts = self.server.counts()
        return {**answer, "connections": counts["connections"], "bytes": counts["sent"]}


@contextmanager
def bench(names: Sequence[str], pythons: Mapping[str, str]) -> Iterator[Bench]:
    """Create a bench, and close it at the end."""
    made = Bench(names, pythons)
    try:
        yield made
    finally:
        made.close()


def _imports(name: str, python: str) -> Answer:
    """Return seconds and modules of importing the client, its framework's base, its embeddings."""
    peer = BY_NAME[name]
    statements = {"base": BASE_IMPORTS[peer.framework], "import": import_statement(peer.chat)}
    if peer.embeddings:
        statements["embeddings"] = import_statement(peer.embeddings)
    found: Answer = {}
    for what, statement in statements.items():
        code = f"import sys,time;t=time.perf_counter();{statement};"
        code += "print(time.perf_counter()-t,len(sys.modules))"
        process = _start([python, "-c", code], cores()[1])
        output = process.communicate(timeout=60)[0].split()
        if len(output) >= 2:
            found[what], found[f"{what}_modules"] = float(output[-2]), int(output[-1])
    return found


def _start(command: list[str], on: set[int], log: Any = subprocess.DEVNULL) -> Any:
    environment = {**os.environ, "LANGSMITH_TRACING": "false", "PYTHONPATH": _path()}
    process = subprocess.Popen(  # noqa: S603 - our own modules, in interpreters the user named
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=_ROOT,
        env=environment,
    )
    # right after the start: only a moment of the interpreter's own start runs elsewhere
    os.sched_setaffinity(process.pid, on)
    return process


def _path() -> str:
    given = os.environ.get("PYTHONPATH")
    return f"{_ROOT}{os.pathsep}{given}" if given else str(_ROOT)
