"""Input that can't be is one clear error before anything is paid; a bad row is a dead letter."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bulk.conftest import Service, corpus, rows_in, run

ROOT = Path(__file__).parents[2]
ROWS = [{"id": i, "text": f"text {i}"} for i in range(200)]
CSV = "id,text\n" + "".join(f'{i},"text, {i}"\n' for i in range(200))
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def parquet_cut_in_half(folder: Path) -> str:
    half(parquet(folder / "a.parquet", text=[f"text {i}" for i in range(1000)]))
    return "a.parquet can't be used"


def parquet_that_is_empty(folder: Path) -> str:
    (folder / "a.parquet").touch()
    return "a.parquet can't be used"


def parquet_of_numbers(folder: Path) -> str:
    parquet(folder / "a.parquet", text=[1, 2])
    return "the column 'text' holds no text, but int64"


def parquet_of_bytes(folder: Path) -> str:
    parquet(folder / "a.parquet", text=[b"a"])
    return "the column 'text' holds no text, but binary"


def parquet_of_nothing(folder: Path) -> str:
    parquet(folder / "a.parquet", text=[None, None])
    return "the column 'text' holds no text, but null"


def parquet_of_lists_of_texts(folder: Path) -> str:
    parquet(folder / "a.parquet", text=[["a"]])
    return "the column 'text' holds no text, but list<"


def parquet_of_structs_named_string(folder: Path) -> str:
    parquet(folder / "a.parquet", text=[{"string": "a"}])
    return "the column 'text' holds no text, but struct<string: string>"


def parquet_with_a_column_twice(folder: Path) -> str:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, folder / "a.parquet")
    return "there are two columns 'text'"


def csv_with_a_column_twice(folder: Path) -> str:
    (folder / "a.csv").write_text("id,text,text\n1,a,b\n")
    return "there are two columns 'text'"


def zstandard_cut_in_half(folder: Path) -> str:
    with fsspec.open(str(folder / "a.jsonl.zst"), "wb", compression="zstd") as file:
        file.write(LINES.encode())
    half(folder / "a.jsonl.zst")
    return "a.jsonl.zst can't be used: "


def parquet_without_the_column(folder: Path) -> str:
    parquet(folder / "a.parquet", text=["a"])
    parquet(folder / "b.parquet", body=["a"])
    return "b.parquet can't be used: there is no column 'text', but body"


def gzip_cut_in_half(folder: Path) -> str:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    half(folder / "a.jsonl.gz")
    return "a.jsonl.gz can't be used"


def gzip_that_is_none(folder: Path) -> str:
    (folder / "a.csv.gz").write_text(CSV)
    return "a.csv.gz can't be used"


def csv_cut_inside_quotes(folder: Path) -> str:
    (folder / "a.csv").write_text(CSV[: CSV.rindex("9")])
    return "a.csv can't be used: unexpected end of data"


def csv_with_a_quote_too_many(folder: Path) -> str:
    (folder / "a.csv").write_text('id,text\n1,"say "hi" now"\n')
    return "a.csv can't be used: ',' expected after '\"'"


def csv_in_another_encoding(folder: Path) -> str:
    (folder / "a.csv").write_bytes("id,text\n1,Käse\n".encode("latin-1"))
    return "a.csv can't be used: 'utf-8' codec can't decode"


def csv_of_a_header_without_the_column(folder: Path) -> str:
    (folder / "a.csv").write_text("id,title\n")
    return "there is no column 'text', but id, title"


def csv_with_other_separators(folder: Path) -> str:
    (folder / "a.csv").write_text("id;text\n1;a\n")
    return "there is no column 'text', but id;text"


def json_lines_in_utf_16(folder: Path) -> str:
    (folder / "a.jsonl").write_bytes(LINES.encode("utf-16"))
    return "a.jsonl can't be used: its lines aren't JSON objects in UTF-8"


def json_lines_that_are_an_array(folder: Path) -> str:
    (folder / "a.jsonl").write_text(json.dumps(ROWS, indent=1))
    return "a.jsonl can't be used"


def json_lines_cut_in_half(folder: Path) -> str:
    (folder / "a.jsonl").write_text(LINES)
    half(folder / "a.jsonl")
    return "a.jsonl can't be used: its last line was cut off"


def packed_json_lines_of_a_cut_file(folder: Path) -> str:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode()[:-9]))
    return "a.jsonl.gz can't be used: its last line was cut off"


def a_link_to_nothing(folder: Path) -> str:
    (folder / "a.jsonl").symlink_to(folder / "nowhere.jsonl")
    return "a.jsonl can't be used"


def a_folder_with_nothing(folder: Path) -> str:
    (folder / "_hidden").mkdir()
    (folder / "_hidden" / "a.jsonl").write_text(LINES)
    return "has no files"


BAD = (
    *(parquet_cut_in_half, parquet_that_is_empty, parquet_of_numbers, parquet_of_bytes),
    *(parquet_of_nothing, parquet_without_the_column, gzip_cut_in_half, gzip_that_is_none),
    *(csv_cut_inside_quotes, csv_with_a_quote_too_many, csv_in_another_encoding),
    *(csv_of_a_header_without_the_column, csv_with_other_separators, json_lines_in_utf_16),
    *(json_lines_that_are_an_array, json_lines_cut_in_half, packed_json_lines_of_a_cut_file),
    *(a_link_to_nothing, a_folder_with_nothing, parquet_of_lists_of_texts),
    *(parquet_of_structs_named_string, parquet_with_a_column_twice, csv_with_a_column_twice),
    *(zstandard_cut_in_half,),
)


@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_an_input_that_cannot_be_used_is_one_line_and_nothing_is_paid(
    service: Service, tmp_path: Path, write: Callable[[Path], str]
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    said = write(folder)
    result = run("embed", folder, tmp_path / "out", "-m", "m")
    assert result.exit_code == 1, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert service.bodies == []


@pytest.mark.parametrize("pattern", ["*.parquet", "nothing/*.jsonl", "a.jsonl"])
def test_a_pattern_that_matches_nothing_is_reported(
    service: Service, tmp_path: Path, pattern: str
) -> None:
    result = run("embed", tmp_path / pattern, tmp_path / "out", "-m", "m")
    assert result.exit_code == 1
    assert "has no files" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
@pytest.mark.parametrize("closed", ["corpus/inner", "corpus", "."])
def test_a_folder_that_cannot_be_read_is_not_left_out(
    service: Service, tmp_path: Path, closed: str
) -> None:
    folder = tmp_path / "corpus"
    (folder / "inner").mkdir(parents=True)
    corpus(folder / "a.jsonl", ["a"])
    corpus(folder / "inner" / "b.jsonl", ["b"])
    # pytest's own folders, which only root may open
    above = [str(path) for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-"))]
    (tmp_path / closed).chmod(0)
    code = f"""
import os
from lunos_cli.bulk.inputs import pieces_of
from lunos_core import errors
if os.getuid() == 0:
    for path in {above!r}:
        os.chmod(path, 0o755)
    os.setuid(65534)
pieces_of({str(folder)!r}, print)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    (tmp_path / closed).chmod(0o755)
    assert done.returncode == 1
    assert "can't be read" in done.stderr
    assert "Permission denied" in done.stderr


def test_an_output_that_is_a_file_the_input_or_inside_of_it_is_refused(
    service: Service, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    source = corpus(folder / "a.jsonl", ["a"])
    for target in (source, source / "below"):
        assert run("embed", source, target, "-m", "m").exit_code in (1, 2)
    for target in (folder, folder / "out"):
        result = run("embed", folder, target, "-m", "m")
        assert result.exit_code == 1
        assert "OUTPUT may not be INPUT, or in it" in result.output
    assert service.bodies == []
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]


def test_other_peoples_files_in_the_output_stay(service: Service, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    theirs = parquet(target / "theirs.parquet", a=[1])
    source = corpus(tmp_path / "c.jsonl", ["a"])
    for texts in (["a"], ["b"]):
        assert run("embed", corpus(source, texts), target, "-m", "m").exit_code == 0
    assert theirs.exists()
    assert len(list(target.glob("*.parquet"))) == 2


@pytest.mark.parametrize("name", ["vector", "error"])
def test_a_column_that_is_to_be_written_is_not_kept(
    service: Service, tmp_path: Path, name: str
) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": "a", name: 1}))
    result = run("embed", tmp_path / "c.jsonl", tmp_path / "out", "-m", "m", "--keep", name)
    assert result.exit_code == 1
    assert f"the column {name!r} is to be written" in result.output


def test_odd_rows_are_dead_letters_and_the_others_are_paid(
    service: Service, tmp_path: Path
) -> None:
    odd = [None, "", " \n", 7, 1.5, True, ["a"], {"a": 1}]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(odd)]
    lines += ["[1]", "null", "7", '"x"', "{", '{"text": "lone \\ud800"}']
    lines += ['{"id": 1, "n": ' + "[" * 100_000 + "]" * 100_000 + "}"]
    lines += ['{"id": 99, "text": "good", "more": 1}', '{"id": 99, "text": "twin"}', "", "{}"]
    (tmp_path / "c.jsonl").write_text('{"id": -1, "text": "first"}\n' + "\n".join(lines) + "\n")
    result = run("embed", tmp_path / "c.jsonl", tmp_path / "out", "-m", "m")
    assert result.exit_code == 3, result.output
    good = rows_in(tmp_path / "out")
    assert [row["id"] for row in good if row["id"] in ("99", "-1")] == ["-1", "99", "99"]
    dead = rows_in(tmp_path / "out" / "_dead")
    assert len(good) + len(dead) == 1 + len(odd) + 7 + 3


def test_a_csv_row_with_a_comma_too_many_is_a_dead_letter(service: Service, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,text\n1,a\n2,b, and more\n3\n4,d\n")
    result = run("embed", tmp_path / "c.csv", tmp_path / "out", "-m", "m")
    assert result.exit_code == 3, result.output
    assert [row["id"] for row in rows_in(tmp_path / "out")] == ["1", "4"]
    assert [row["id"] for row in rows_in(tmp_path / "out" / "_dead")] == ["2", "3"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_odd_but_sound_csv_is_read(service: Service, tmp_path: Path, end: str) -> None:
    book = "word " * 40_000
    text = end.join(["id,text", '1,"a ""b"", c"', '2,"two' + end + 'lines"', f"3,{book}", ""])
    (tmp_path / "c.csv").write_bytes(text.encode())
    more = ("--most-tokens", 10**6)
    result = run("embed", tmp_path / "c.csv", tmp_path / "out", "-m", "m", *more)
    assert result.exit_code == 0, result.output
    assert set(service.texts()) == {'a "b", c', f"two{end}lines", book}


def test_utf_16_of_texts_and_tables_is_read(service: Service, tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_bytes("id\ttext\n1\tKäse\n".encode("utf-16"))
    assert run("embed", tmp_path / "c.tsv", tmp_path / "out", "-m", "m").exit_code == 0
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes("Brot".encode("utf-16"))
    assert run("embed", tmp_path / "texts", tmp_path / "more", "-m", "m").exit_code == 0
    assert set(service.texts()) == {"Käse", "Brot"}


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv", "c.tsv", "c.txt", "c.jsonl.gz"])
def test_an_empty_file_has_no_rows(service: Service, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    result = run("embed", tmp_path / name, tmp_path / "out", "-m", "m")
    assert result.exit_code == (3 if name == "c.txt" else 0), result.output
    assert service.bodies == []


def test_a_file_that_breaks_while_it_is_read_ends_the_job_and_what_was_paid_is_kept(
    service: Service, tmp_path: Path
) -> None:
    texts = [os.urandom(64).hex() for _ in range(4000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=1000, compression="none")
    data = bytearray(path.read_bytes())
    start = int(len(data) * 0.6)
    data[start : start + 90_000] = bytes(90_000)
    path.write_bytes(data)
    small = ("--batch-tokens", 2048, "--rpm", 60_000)
    result = run("embed", path, tmp_path / "out", "-m", "m", "--block", 500, *small)
    assert result.exit_code in (3, 4)
    pq.write_table(pa.table({"text": texts}), path, row_group_size=1000, compression="none")
    assert run("embed", path, tmp_path / "out", "-m", "m", "--block", 500, *small).exit_code == 0
    assert all(service.texts()[text] == 1 for text in texts)
