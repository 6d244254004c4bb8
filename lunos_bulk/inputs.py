"""Where rows come from: files at any address that fsspec knows, read in pieces.

A piece is a row group of a Parquet file, some megabytes of JSON lines, a CSV file or packed file,
or some text files of a folder. Only the worker that a piece is given to reads it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import pyarrow.parquet as pq

from lunos_core.errors import LunosConfigError

Row = dict[str, Any]
_KIND = re.compile(r"\.(parquet|jsonl|ndjson|csv|tsv)(\.(?:gz|bz2|xz|zst|lz4))?$", re.IGNORECASE)
_PIECE = 16 * 2**20
_TEXTS = 64


@dataclass(frozen=True)
class Piece:
    """Rows from `start` to `stop` (bytes, or the number of a row group) of files of one kind.

    `size` is in rows for Parquet, else in bytes, and 0 where that isn't known.
    """

    name: str
    kind: str
    paths: tuple[str, ...]
    size: int
    start: int = 0
    stop: int | None = None
    root: str = ""


def pieces_of(address: str, check: Callable[[Sequence[str]], None]) -> list[Piece]:
    """Split an input, and look whether its files are whole and have the columns.

    Raises:
        LunosConfigError: there is no input, or a file can't be used.
    """
    try:
        fs, path = fsspec.core.url_to_fs(address)
        found = fs.find(path, detail=True) or {name: fs.info(name) for name in fs.glob(path)}
    except (OSError, ValueError, ImportError) as error:
        raise LunosConfigError(f"{address} can't be read: {error}") from None
    root = path.rpartition("/")[0] if len(found) == 1 or "*" in path else path
    sizes = {
        name: facts["size"] or 0
        for name, facts in sorted(found.items())
        if not re.search(r"/[._]", name[len(root) :])
    }
    matches = [_KIND.search(name) for name in sizes]
    kinds = {match[1].lower() if match else "text" for match in matches}
    if len(kinds) != 1:
        what = f"files of several kinds: {', '.join(sorted(kinds))}" if kinds else "no files"
        raise LunosConfigError(f"{address} has {what}")
    (kind,) = kinds
    files = [
        (fs.unstrip_protocol(name), name[len(root) :].strip("/"), size)
        for name, size in sizes.items()
    ]
    if kind == "text":
        check(["id", "text"])
        groups = [files[i : i + _TEXTS] for i in range(0, len(files), _TEXTS)]
        return [
            Piece(
                group[0][1],
                kind,
                tuple(path for path, *_ in group),
                sum(size for *_, size in group),
                root=fs.unstrip_protocol(root).rstrip("/") + "/",
            )
            for group in groups
        ]
    pieces: list[Piece] = []
    for path, name, size in files:
        try:
            pieces += _pieces_of_file(Piece(name, kind, (path,), size), check)
        except Exception as error:
            said = " ".join(str(error).split())
            raise LunosConfigError(f"{path} can't be used: {said}") from None
    return pieces


def _pieces_of_file(whole: Piece, check: Callable[[Sequence[str]], None]) -> Iterator[Piece]:
    name, kind, (path,), size = whole.name, whole.kind, whole.paths, whole.size
    if kind == "parquet":
        with _open(path) as file:
            facts = pq.ParquetFile(file)
            check(facts.schema_arrow.names)
            for i in range(facts.num_row_groups):
                group = facts.metadata.row_group(i)
                yield Piece(name, kind, (path,), group.num_rows, i)
        return
    first = next(rows_of(whole), None)
    if first is not None:
        check(list(first))
    if kind in ("csv", "tsv") or not path.lower().endswith(kind):
        yield replace(whole, size=size if path.lower().endswith(kind) else 0)
        return
    with _open(path) as file:
        file.seek(max(0, size - _PIECE))
        try:
            json.loads(file.read().rpartition(b"\n")[2].strip() or b"{}")
        except ValueError:
            raise ValueError("its last line was cut off") from None
    for start in range(0, size, _PIECE):
        stop = min(start + _PIECE, size)
        yield Piece(name, kind, (path,), stop - start, start, stop)


def rows_of(piece: Piece) -> Iterator[Row]:
    """Read the rows of a piece, one after the other; `id` is where it stands, if it has none."""
    for i, (position, row) in enumerate(_numbered(piece)):
        where = piece.start if piece.kind == "parquet" else ""
        yield {"id": f"{piece.name}:{where}{i if position is None else position}", **row}


def _numbered(piece: Piece) -> Iterator[tuple[Any, Row]]:
    path = piece.paths[0]
    if piece.kind == "parquet":
        with _open(path) as file:
            for batch in pq.ParquetFile(file).iter_batches(1024, row_groups=[piece.start]):
                yield from ((None, row) for row in batch.to_pylist())
    elif piece.kind == "text":
        for path in piece.paths:
            with _open(path, compression="infer") as file:
                yield None, {"id": path.removeprefix(piece.root), "text": _decoded(file.read())}
    elif piece.kind in ("csv", "tsv"):
        settings = {"newline": "", "encoding": "utf-8-sig", "errors": "replace"}
        with _open(path, "rt", compression="infer", **settings) as file:
            for row in csv.DictReader(file, delimiter="\t" if piece.kind == "tsv" else ","):
                yield None, row
    else:
        yield from _json_lines(piece)


def _open(path: str, mode: str = "rb", **settings: Any) -> Any:
    return fsspec.open(path, mode, **settings)


def _json_lines(piece: Piece) -> Iterator[tuple[int, Row]]:
    with _open(piece.paths[0], compression="infer") as file:
        position = piece.start
        if position:  # a line belongs where it begins
            file.seek(position - 1)
            position += len(file.readline()) - 1
        while (piece.stop is None or position < piece.stop) and (line := file.readline()):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if line.strip():
                yield position, row if isinstance(row, dict) else {}
            position += len(line)


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
