"""The catalog's file: where it is, what is in it, and what happens to a bad one."""

from __future__ import annotations

import json
import os
import pickle
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lunos_core import Lunos
from lunos_core.catalog.disk import cache_file, cache_folder, read_cache
from tests.core.wire_samples import Wire

from .test_catalog import LIST, MODELS, catalog_of, ids

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_another_process_finds_the_public_list_on_disk(both: Both, tmp_path: Path) -> None:
    wire = Wire(LIST)
    await both(catalog_of(both, wire, cache_dir=tmp_path).list())
    again = catalog_of(both, wire, cache_dir=tmp_path)
    assert again.cached("gpt-4o", disk=False) is None  # a call in progress reads no file
    assert ids(again.cached_models()) == [item["id"] for item in MODELS]
    assert again.cached("gpt-4o").input_price == Decimal("0.0000025")
    assert ids(await both(again.list())) == [item["id"] for item in MODELS]
    assert len(wire.requests) == 1


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    url = "https://lunos.test"
    kept = {"version": 1, "url": url, "fetched": 7, "models": [{"id": "m"}]}
    file = cache_file(tmp_path, url)
    for version, expected in [(1, (7.0, [{"id": "m"}])), (0, None), (2, None)]:
        file.write_text(json.dumps({**kept, "version": version}))
        assert read_cache(file, url) == expected


async def test_the_file_holds_no_key_and_nothing_that_needed_one(
    both: Both, tmp_path: Path
) -> None:
    catalog = catalog_of(both, Wire(LIST), cache_dir=tmp_path, api_key="sk-hush")
    await both(catalog.list())
    await both(catalog.list(input="text"))
    (file,) = files_in(tmp_path)
    assert "sk-hush" not in file.read_text() + file.name
    assert json.loads(file.read_text())["url"] == "https://lunos.test"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"{}",
        b'{"version": 1}',
        b'{"version": 1, "url": "https://lunos.test", "fetched": "now", "models": [{"id": "x"}]}',
        b'{"version": 1, "url": "https://lunos.test", "fetched": 9e99, "models": [{"id": "x"}]}',
        b'{"version": 1, "url": "https://lunos.test", "fetched": 1, "models": [{"id": "x"}]}',
        b'{"version": 1, "url": "https://other.test", "fetched": 9e99, "models": [{"id": "x"}]}',
        b'{"version": 0, "url": "https://lunos.test", "fetched": 9e99, "models": [{"id": "x"}]}',
    ],
)
async def test_a_corrupt_old_or_foreign_file_is_ignored_and_replaced(
    both: Both, tmp_path: Path, content: bytes
) -> None:
    file = cache_file(tmp_path, "https://lunos.test")
    file.write_bytes(content)
    wire = Wire(LIST)
    result = await both(catalog_of(both, wire, cache_dir=tmp_path).list())
    assert (len(result), len(wire.requests)) == (len(MODELS), 1)
    assert len(json.loads(file.read_bytes())["models"]) == len(MODELS)
    assert files_in(tmp_path) == [file]  # no temporary files


@pytest.mark.parametrize(
    "models", ['[{"name": "no id"}]', "[1, null]", '[{"id": ""}]', '{"id": "x"}', "[[[]]]"]
)
async def test_a_file_of_broken_entries_is_fetched_again_and_not_an_empty_catalog(
    both: Both, tmp_path: Path, models: str
) -> None:
    head = f'{{"version": 1, "url": "https://lunos.test", "fetched": {time.time()}, "models": '
    file = cache_file(tmp_path, "https://lunos.test")
    file.write_text(head + models + "}")
    wire = Wire(LIST)
    catalog = catalog_of(both, wire, cache_dir=tmp_path)
    assert catalog.cached("gpt-4o") is None
    assert (len(await both(catalog.list())), len(wire.requests)) == (len(MODELS), 1)


@pytest.mark.parametrize("future", ["stamp", "mtime"])
async def test_a_file_from_the_future_is_fetched_again(
    both: Both, tmp_path: Path, future: str
) -> None:
    await both(catalog_of(both, Wire(LIST), cache_dir=tmp_path).list())
    (file,) = files_in(tmp_path)
    later = time.time() + 1800
    if future == "stamp":
        file.write_text(json.dumps({**json.loads(file.read_text()), "fetched": later}))
    else:
        os.utime(file, (later, later))
    wire = Wire(LIST)
    catalog = catalog_of(both, wire, cache_dir=tmp_path)
    assert catalog.cached("gpt-4o") is None
    assert (len(await both(catalog.list())), len(wire.requests)) == (len(MODELS), 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has none of these")
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "to_fifo", "loop", "dangling"])
async def test_something_other_than_a_file_in_its_place_blocks_nobody(
    both: Both, tmp_path: Path, kind: str
) -> None:
    file = cache_file(tmp_path, "https://lunos.test")
    if kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        target = {"device": "/dev/zero", "to_fifo": str(tmp_path / "fifo"), "loop": str(file)}
        os.mkfifo(tmp_path / "fifo")
        file.symlink_to(target.get(kind, "/nowhere/at/all"))
    wire = Wire(LIST)
    catalog = catalog_of(both, wire, cache_dir=tmp_path)
    assert catalog.cached("gpt-4o") is None
    assert (len(await both(catalog.list())), len(wire.requests)) == (len(MODELS), 1)
    assert catalog.cached("gpt-4o") is not None
    if kind != "directory":  # the rest is replaced, never written through
        assert file.is_file()
        assert not file.is_symlink()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
async def test_a_folder_that_cannot_be_read_is_not_used(both: Both, tmp_path: Path) -> None:
    await both(catalog_of(both, Wire(LIST), cache_dir=tmp_path).list())
    os.chmod(tmp_path, 0)
    try:
        assert len(await both(catalog_of(both, Wire(LIST), cache_dir=tmp_path).list())) == len(
            MODELS
        )
    finally:
        os.chmod(tmp_path, 0o700)


async def test_each_base_url_has_its_own_file(both: Both, tmp_path: Path) -> None:
    for url in ("https://lunos.test", "https://lunos.test:81/v1/", "https://lunos.test/a/v1"):
        await both(catalog_of(both, Wire(LIST), cache_dir=tmp_path, base_url=url).list())
    await both(
        catalog_of(both, Wire(LIST), cache_dir=tmp_path, base_url="https://lunos.test/v1").list()
    )
    assert len(files_in(tmp_path)) == 3


async def test_a_folder_that_cannot_be_written_is_ignored_without_an_error(
    both: Both, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    catalog = catalog_of(both, Wire(LIST), cache_dir=blocked / "folder")
    assert len(await both(catalog.list())) == len(MODELS)


async def test_a_mock_leaves_no_file_unless_a_folder_is_named(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    await both(catalog_of(both, Wire(LIST)).list())
    assert files_in(tmp_path) == []
    monkeypatch.setenv("LUNOS_CACHE_DIR", str(tmp_path / "own"))
    await both(catalog_of(both, Wire(LIST)).list())
    assert len(files_in(tmp_path / "own")) == 1
    await both(catalog_of(both, Wire(LIST), cache_dir=False, base_url="https://no.test").list())
    assert len(files_in(tmp_path / "own")) == 1


@pytest.mark.parametrize("url", ["https://lunos.test", "http://127.0.0.1:9"])
async def test_a_file_that_is_asked_for_is_in_the_usual_folder(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LUNOS_CACHE_DIR", str(tmp_path))
    await both(catalog_of(both, Wire(LIST), cache_dir=True, base_url=url).list())
    assert len(files_in(tmp_path)) == 1


def test_a_gateway_on_this_machine_leaves_no_file(
    gateway: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Lunos(base_url=gateway.base_url) as lunos:
        assert "lunos/scripted" in ids(lunos.models.list())
    assert files_in(tmp_path) == []


def test_the_cache_folder_is_the_platforms_own() -> None:
    home = Path("/h")
    assert cache_folder({"LUNOS_CACHE_DIR": "/x"}, "linux", home) == Path("/x")
    assert cache_folder({}, "linux", home) == Path("/h/.cache/lunos")
    assert cache_folder({"XDG_CACHE_HOME": "/c"}, "linux", home) == Path("/c/lunos")
    assert cache_folder({"XDG_CACHE_HOME": "c"}, "linux", home) == Path("/h/.cache/lunos")
    assert cache_folder({}, "darwin", home) == Path("/h/Library/Caches/lunos")
    assert cache_folder({"LOCALAPPDATA": "/l", "APPDATA": "/r"}, "win32") == Path("/l/lunos/Cache")
    assert cache_folder({"APPDATA": "/r"}, "win32") == Path("/r/lunos/Cache")
    assert cache_folder({}, "win32") is None


def test_without_a_home_folder_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert cache_folder({}, "linux") is None
    assert cache_folder({"LUNOS_CACHE_DIR": "/x"}, "linux") == Path("/x")


def test_a_catalog_travels_in_a_pickle_without_its_lists() -> None:
    catalog = Lunos("k", base_url="https://lunos.test").models
    again = pickle.loads(pickle.dumps(catalog))
    assert again.cached("m") is None
