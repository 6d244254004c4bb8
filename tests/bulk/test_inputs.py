"""Where rows come from: each kind of file, in pieces, and what is wrong with them."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lunos_cli.bulk import inputs
from lunos_cli.bulk.inputs import pieces_of, rows_of
from lunos_core import LunosConfigError

ROWS = [{"id": i, "text": f"text {i}, \u6d77\nsecond line" * (i % 5 + 1)} for i in range(200)]


def anything(there: Mapping[str, Any]) -> None: ...


def read(address: Path | str) -> list[dict[str, Any]]:
    return [row for piece in pieces_of(str(address), anything) for row in rows_of(piece)]


def test_parquet_is_read_by_row_groups(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=30)
    pieces = pieces_of(str(tmp_path / "a.parquet"), anything)
    assert [piece.size for piece in pieces] == [30] * 6 + [20]
    assert read(tmp_path / "a.parquet") == ROWS


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 10**6])
def test_json_lines_are_split_anywhere_and_each_line_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(inputs, "_PIECE", size)
    rows = ROWS[: 20 if size < 100 else 200]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    for end in ("", "\n", "\n\n"):
        (tmp_path / "a.jsonl").write_text(text + end, "utf-8")
        if size > 100:  # the last line is looked at in the last piece of the file
            assert read(tmp_path / "a.jsonl") == rows
        else:
            local, path = fsspec.filesystem("file"), str(tmp_path / "a.jsonl")
            pieces = [
                inputs.Piece(local, "a", "jsonl", (path,), size, i, i + size)
                for i in range(0, len((text + end).encode()), size)
            ]
            assert [row for piece in pieces for row in rows_of(piece)] == rows


def test_csv_and_packed_files_are_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    assert read(tmp_path / "a.csv") == [{**row, "id": str(row["id"])} for row in ROWS]
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, ROWS)))
    assert read(tmp_path / "b.jsonl.gz") == ROWS


def test_a_folder_of_texts_is_a_row_for_each(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "more" / "b.md").write_text("second")
    (tmp_path / "c.txt").write_bytes(b"\xff\xff")
    (tmp_path / ".hidden").write_text("no")
    rows = {row["id"]: row["text"] for row in read(tmp_path)}
    assert rows == {"a.txt": "first", "more/b.md": "second", "c.txt": None}


def test_rows_without_an_id_get_one_that_stays(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": "y"}\n')
    assert [row["id"] for row in read(tmp_path / "a.jsonl")] == ["a.jsonl:0", "a.jsonl:14"]


def test_rows_of_parquet_without_an_id_get_one_that_no_other_row_has(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}"} for i in range(400)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=20)
    ids = [row["id"] for row in read(tmp_path / "a.parquet")]
    assert len(set(ids)) == 400
    assert ids[25] == "a.parquet:1:5"


def test_any_address_of_fsspec_is_an_input() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bulk/a.jsonl", b'{"id": 1, "text": "x"}\n')
    memory.pipe("/bulk/b.jsonl", b'{"id": 2, "text": "y"}\n')
    assert [row["id"] for row in read("memory://bulk")] == [1, 2]
    assert [row["id"] for row in read("memory://bulk/b*.jsonl")] == [2]


@pytest.mark.parametrize("pattern", ["", "/*/*", "/*/*.jsonl", "/year=202[56]/a.jsonl"])
def test_names_of_folders_are_columns_and_ids_as_the_engines_have_them(
    tmp_path: Path, pattern: str
) -> None:
    for year, land in ((2025, "C%C3%B4te d'Ivoire"), (2026, "Norge")):
        folder = tmp_path / "all" / f"year={year}" / (f"land={land}" if not pattern else "")
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text('{"text": "x"}\n{"text": "y", "year": "?"}\n')
    seen: list[Mapping[str, Any]] = []
    pieces = pieces_of(f"{tmp_path / 'all'}{pattern}", seen.append)
    rows = [row for piece in pieces for row in rows_of(piece)]
    names = {"text", "year", *(() if pattern else ("land",))}
    assert [set(there) for there in seen] == [names, names]
    # what a row says itself counts
    assert [row["year"] for row in rows] == ["2025", "?", "2026", "?"]
    assert [row.get("land") for row in rows][::2] == (
        [None, None] if pattern else ["C\u00f4te d'Ivoire", "Norge"]
    )
    assert rows[0]["id"].startswith("year=2025/")
    assert rows[2]["id"].endswith("/a.jsonl:0")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "lz4"])
def test_packed_lines_are_read(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / f"a.jsonl.{kind}")
    try:
        with fsspec.open(path, "wb", compression="infer") as file:
            file.write("\n".join(map(json.dumps, ROWS)).encode())
    except ValueError:
        pytest.skip("fsspec lacks the library that packs it")
    assert read(path) == ROWS


class Web(SimpleHTTPRequestHandler):
    """A folder by HTTP, in parts too; counts the bytes of files that are sent."""

    sent = 0

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("range")
        if path.name == "closed.jsonl":
            self.send_error(403)
        elif not asked or not path.is_file():
            super().do_GET()
        else:
            first, last = asked.removeprefix("bytes=").split("-")
            size = path.stat().st_size
            data = path.read_bytes()[int(first) : int(last or size) + 1]
            self.send_response(206)
            self.send_header("content-length", str(len(data)))
            self.send_header("content-range", f"bytes {first}-{int(first) + len(data) - 1}/{size}")
            self.end_headers()
            self.copyfile(io.BytesIO(data), self.wfile)

    def end_headers(self) -> None:
        self.send_header("accept-ranges", "bytes")
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asks needn't read to the end
            while data := source.read(2**16):
                outputfile.write(data)
                Web.sent += len(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Web, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.socket
def test_files_of_a_web_server_are_read_in_parts(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_TAIL", 1000)
    rows = [{"id": i, "text": "x" * 3000} for i in range(5000)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(text)
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "c.parquet")
    Web.sent = 0
    pieces = pieces_of(f"{web}/in/a.jsonl", anything)
    assert Web.sent < len(text), "only its beginning and its end are fetched"
    assert [row for piece in pieces for row in rows_of(piece)] == rows
    for name in ("in/b.jsonl.gz", "in/c.parquet", "in/*.gz"):
        assert read(f"{web}/{name}") == rows
    with pytest.raises(LunosConfigError, match="has no files"):
        read(f"{web}/in/d.jsonl")
    (tmp_path / "in" / "closed.jsonl").touch()
    with pytest.raises(LunosConfigError, match=r"closed\.jsonl"):
        read(f"{web}/in/closed.jsonl")
    (tmp_path / "in" / "closed.jsonl").unlink()
    (tmp_path / "in" / "c.parquet").unlink()
    assert len(read(f"{web}/in/")) == 2 * len(rows)


def test_a_name_with_brackets_is_a_file_or_a_folder_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[a]").mkdir()
    (tmp_path / "[a]" / "[b].jsonl").write_text('{"text": "x"}')
    for address in ("[a]", "[a]/[b].jsonl"):
        assert [row["id"] for row in read(tmp_path / address)] == ["[b].jsonl:0"]


def test_files_inside_of_an_archive_and_behind_a_cache_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, rows in (("in/a.jsonl", ROWS[:9]), ("in/b.jsonl", ROWS[9:])):
            archive.writestr(name, "\n".join(map(json.dumps, rows)))
    chain = f"::{tmp_path / 'a.zip'}"
    assert read("zip://in/a.jsonl" + chain) == ROWS[:9]
    assert read("zip://in" + chain) == read("zip://in/*.jsonl" + chain) == ROWS
    (tmp_path / "c.jsonl").write_text(json.dumps(ROWS[0]))
    assert read(f"simplecache::file://{tmp_path / 'c.jsonl'}") == ROWS[:1]
    with pytest.raises(LunosConfigError, match="has no files"):
        read("zip://nothing.jsonl" + chain)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.parquet", b"PAR1 and no more", "a.parquet can't be used"),
        ("a.jsonl", b'{"id": 1, "text": "x"}\n{"id": 2, "te', "cut off"),
        ("a.jsonl", b'{"id": 1}\n', "there is no column 'text'"),
        ("a.csv", b"id,title\n1,x\n", "there is no column 'text'"),
        ("b.jsonl.gz", b"\x1f\x8b\x08\x00", "b.jsonl.gz can't be used"),
    ],
)
def test_a_file_that_is_broken_or_lacks_a_column_is_named(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    from lunos_bulk.job import Job

    (tmp_path / name).write_bytes(data)
    with pytest.raises(LunosConfigError, match=said):
        pieces_of(str(tmp_path), Job("s", "m").check_columns)


def test_no_files_and_files_of_several_kinds_are_said(tmp_path: Path) -> None:
    with pytest.raises(LunosConfigError, match="has no files"):
        pieces_of(str(tmp_path / "nothing"), anything)
    with pytest.raises(LunosConfigError, match="can't be read"):
        pieces_of("nowhere://x", anything)
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "b.csv").write_text("id")
    with pytest.raises(LunosConfigError, match="several kinds: csv, jsonl"):
        pieces_of(str(tmp_path), anything)
