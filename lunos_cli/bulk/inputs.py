"""The rows of an input: files at any address that fsspec supports, read in pieces.

A piece is a row group of Parquet, 16 MB of JSON lines, a CSV or compressed file, or 64 texts.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from urllib.parse import unquote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from lunos_core.errors import LunosConfigError

Row = dict[str, Any]
Check = Callable[[Mapping[str, Any]], None]
"""Raises if a column is missing or has a wrong type, which is `None` in JSON, CSV and texts."""

_KIND = re.compile(r"\.(parquet|jsonl|ndjson|csv|tsv)(\.(?:gz|bz2|xz|zst|lz4))?$", re.IGNORECASE)
_COMMAS = {"csv": ",", "tsv": "\t"}
_PIECE, _TAIL, _TEXTS, _SAMPLE = 16 * 2**20, 2**20, 64, 100
_HEADER = -1  # the position of the names of a table's columns
csv.field_size_limit(2**31 - 1)  # a cell may contain a book


@dataclass(frozen=True)
class Piece:
    """Rows of a file, or of some text files.

    `size` is in rows for Parquet, else in bytes; `start` and `stop` are the bytes where lines
    begin, or `start` is the number of a row group.
    """

    fs: Any
    name: str
    kind: str
    paths: tuple[str, ...]
    size: int
    start: int = 0
    stop: int | None = None

    @property
    def partition(self) -> dict[str, str]:
        """The columns in the names of its folders, such as "year=2026"."""
        return dict(re.findall(r"([^/=]+)=([^/]*)/", unquote(self.name)))


def pieces_of(address: str, check: Check) -> list[Piece]:
    """Split an input, and check that its files are complete and have the columns.

    Raises:
        LunosConfigError: there is no input, or a file can't be used.
    """
    try:
        found: Any
        fs, root = fsspec.core.url_to_fs(address)
        if isinstance(fs, LocalFileSystem):  # fsspec silently omits unreadable folders
            list(os.walk(root, onerror=_fail))
        facts = fs.info(root) if fs.exists(root) else {}
        # over HTTP, `find` fetches a whole file, and only what ends with "/" is a folder
        if facts.get("type") == "file" and not root.endswith("/"):
            found, root = {root: facts}, root.rpartition("/")[0]
        elif not (found := fs.find(root, detail=True)):
            found, root = fs.glob(root, detail=True), re.split(r"[*?[]", root)[0].rpartition("/")[0]
    except Exception as error:  # file systems have errors of their own
        raise LunosConfigError(f"{address} can't be read: {error}") from None
    files = []
    for path, facts in sorted(found.items()):
        name, match = path[len(root) :], _KIND.search(path)
        if facts["type"] != "directory" and not re.search(r"(^|/)[._]", name):
            kind = match[1].lower() if match else "text"
            files.append(Piece(fs, name.strip("/"), kind, (path,), facts.get("size") or 0))
    kinds = sorted({file.kind for file in files})
    if len(kinds) != 1:
        what = f"files of several kinds: {', '.join(kinds)}" if kinds else "no files"
        raise LunosConfigError(f"{address} has {what}")
    if kinds == ["text"]:
        check({"id": None, "text": None})
        groups = (files[i : i + _TEXTS] for i in range(0, len(files), _TEXTS))
        return [
            replace(some[0], paths=sum((f.paths for f in some), ()), size=sum(f.size for f in some))
            for some in groups
        ]
    pieces: list[Piece] = []
    for file in files:
        with _named(file):
            pieces += _split(file, check)
    return pieces


def _fail(error: OSError) -> None:
    if isinstance(error, PermissionError):  # otherwise it is a file, or a pattern
        raise error


@contextlib.contextmanager
def _named(piece: Piece) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise LunosConfigError(f"{piece.paths[0]} can't be used: {said}") from None


def _split(whole: Piece, check: Check) -> Iterator[Piece]:
    (path,), size, folders = whole.paths, whole.size, dict.fromkeys(whole.partition)
    if whole.kind == "parquet":
        with _opened(whole) as file:
            facts = pq.ParquetFile(file)
            names, types = facts.schema_arrow.names, facts.schema_arrow.types
            _check_names(names)
            check({**dict(zip(names, types, strict=True)), **folders})
            for i in range(facts.num_row_groups):
                yield replace(whole, size=facts.metadata.row_group(i).num_rows, start=i)
        return
    sample = [row for _, row in islice(_numbered(whole), _SAMPLE)]
    if any(sample):
        check(dict.fromkeys(name for row in (*sample, folders) for name in row or ()))
    elif sample:
        raise ValueError("its lines aren't JSON objects in UTF-8")
    is_packed = not path.lower().endswith(whole.kind)
    is_one = whole.kind in _COMMAS or is_packed or not size
    # a file that can't be split must be read to see that it is complete
    tail = whole if is_one else replace(whole, start=max(0, size - _TAIL))
    if deque((row for _, row in _numbered(tail)), maxlen=1) == deque([None]):
        raise ValueError("its last line was cut off")
    if is_one:
        yield replace(whole, size=0 if is_packed else size)
        return
    for start in range(0, size, _PIECE):
        stop = min(start + _PIECE, size)
        yield replace(whole, size=stop - start, start=start, stop=stop)


@contextlib.contextmanager
def _opened(piece: Piece, number: int = 0) -> Iterator[io.BufferedReader]:
    path = piece.paths[number]
    packed = None if path.lower().endswith(".zst") else "infer"
    with fsspec.core.OpenFile(piece.fs, path, compression=packed) as file:
        # Arrow knows where the data must end, the library that fsspec has does not
        yield io.BufferedReader(file if packed else pa.CompressedInputStream(file, "zstd"))


def _encoding(start: bytes) -> str:
    return "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name and names.count(name) > 1:
            raise ValueError(f"there are two columns {name!r}")


def rows_of(piece: Piece) -> Iterator[Row]:
    """Yield the rows of a piece; a row without an `id` gets its position as one."""
    with _named(piece):
        for position, row in _numbered(piece):
            if position != _HEADER:
                yield {"id": f"{piece.name}:{position}", **piece.partition, **(row or {})}


def _numbered(piece: Piece) -> Iterator[tuple[Any, Row | None]]:
    """Yield rows with their positions; a line that isn't a JSON object is `None`."""
    if piece.kind == "text":
        for i, path in enumerate(piece.paths):
            with _opened(piece, i) as file:
                data = file.read()
            text = None
            with contextlib.suppress(UnicodeDecodeError):
                text = data.decode(_encoding(data))
            yield None, {"id": path[len(piece.paths[0]) - len(piece.name) :], "text": text}
        return
    with _opened(piece) as file:
        if piece.kind == "parquet":
            batches = pq.ParquetFile(file).iter_batches(1024, row_groups=[piece.start])
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from ((f"{piece.start}:{i}", row) for i, row in enumerate(rows))
        elif piece.kind in _COMMAS:
            lines = io.TextIOWrapper(file, _encoding(file.peek(2)), newline="")
            table = csv.DictReader(lines, delimiter=_COMMAS[piece.kind], strict=True)
            if table.fieldnames:  # there may be no rows
                _check_names(table.fieldnames)
                yield _HEADER, dict.fromkeys(table.fieldnames)
            for i, row in enumerate(table):
                # more cells than columns: a comma wasn't quoted, and the columns are unknown
                yield i, {"id": row.get("id")} if None in row else row
        else:
            position = piece.start
            if position:  # a line belongs to the piece where it begins
                file.seek(position - 1)
                position += len(file.readline()) - 1
            while (piece.stop is None or position < piece.stop) and (line := file.readline()):
                row = None
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(str(line, "utf-8-sig"))
                if line.strip():
                    yield position, row if isinstance(row, dict) else None
                position += len(line)
