"""What came of a recorded conversation: kept beside the cassettes, and compared in each replay.

A replay whose test only looks at the shape of an answer would pass with another text, another
vector or another price. So all that a client returns is compared, exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

# made anew by each object or call, or about the connection
_CHANGING = {"id", "id_", "run_id", "node_id", "ref_doc_id", "hash", "response", "request"}


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, without what differs from run to run."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, BaseModel):
        return plain({name: getattr(value, name) for name in type(value).model_fields})
    if is_dataclass(value):
        # `raw` is the body itself, which the other fields are read from
        return plain({f.name: getattr(value, f.name) for f in fields(value) if f.name != "raw"})
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
