"""What came of a recorded conversation: kept beside the cassettes, and compared in each replay.

A replay whose test only looks at the shape of an answer would pass with another text, another
vector or another price. So all that a client returns is compared, exactly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lunos_core import CallRecord, LunosError

# made anew by each object or call, or about the connection
_CHANGING = {"hash", "response", "request"}
_ABOUT_THE_RUN = {"seconds", "first_token_seconds", "time", "chunk_seconds", "metadata", "tags"}
# an id that the framework made up; the wire's are compared
_MADE_UP = re.compile(r"(?:lc_)?(?:run-)?-?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-\d+)?")


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, without what differs from run to run."""
    if isinstance(value, str) and _MADE_UP.fullmatch(value):
        return "an id of this run"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return _digest(value)
    if isinstance(value, BaseException):
        return plain({"error": type(value).__name__, "text": str(value), **vars(value)})
    if isinstance(value, BaseModel):
        return plain({name: getattr(value, name) for name in type(value).model_fields})
    if is_dataclass(value):
        known = {part.name: getattr(value, part.name) for part in fields(value)}
        if known.get("raw"):  # the body, which the other fields are read from: short, but exact
            known["raw"] = _digest(json.dumps(known["raw"], sort_keys=True).encode())
        return plain(known)
    if isinstance(value, Mapping):
        return {
            str(name): plain(item)
            for name, item in value.items()
            if str(name) not in _CHANGING and not str(name).startswith("_")
            # a field that says nothing may be added, or go
            if item is not None and item not in ("", [], {}, ())
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return type(value).__name__


def _digest(value: bytes) -> str:
    return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}"


class Came:
    """What one test's client returned, and what it should have."""

    def __init__(self, file: Path, name: str) -> None:
        """Keep the results of the test `name` in `file`, by its name."""
        self._file, self._name = file, name
        self._results: list[Any] = []

    def __call__(self, result: Any) -> Any:
        """Take a result down, and return it."""
        self._results.append(plain(result))
        return result

    def record(self, call: CallRecord) -> None:
        """Take down what an observer hears: usage, price, ids and ends that no result shows."""
        known = call._asdict()
        self({"call": {name: known[name] for name in known if name not in _ABOUT_THE_RUN}})

    @contextmanager
    def or_raises(self) -> Iterator[None]:
        """Take down an error of ours that a `with` block raises; it is raised all the same."""
        try:
            yield
        except LunosError as error:
            self(error)
            raise

    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self._file.read_text("utf-8"))
        return kept

    def keep(self) -> None:
        """Write the results down, as the expected ones."""
        kept = self._kept() if self._file.exists() else {}
        kept[self._name] = self._results
        text = json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False)
        self._file.write_text(text + "\n", "utf-8")

    def compare(self) -> None:
        """Assert that the results are the expected ones."""
        # through JSON: tuples and lists are the same there
        assert json.loads(json.dumps(self._results)) == self._kept().get(self._name, [])
