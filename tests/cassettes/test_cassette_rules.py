"""Rules for every committed cassette."""

from __future__ import annotations

import ast
import gzip
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(os.environ.get("LUNOS_CASSETTE_ROOT") or Path(__file__).parents[2] / "cassettes")
KEY = os.environ.get("LUNOS_API_KEY") or None  # read here: tests run without it
FILES = sorted(path for path in ROOT.rglob("*") if ".yaml" in path.suffixes)
OURS = [path for path in FILES if path.parent.name.startswith("test_recorded_")]
STAND_IN_HOST, LIVE_HOST = "http://local-gateway.invalid/", "https://api.lunos.tech/"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def interactions_of(path: Path) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = yaml.safe_load(text_of(path))["interactions"]
    return result


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_cassette_holds_no_key(path: Path) -> None:
    text = text_of(path)
    for bearer in re.findall(r"bearer\s+(\S+)", text, re.IGNORECASE):
        assert bearer.strip("'\",") == "SCRUBBED"
    assert not re.search(r"\bsk-[\w-]{8,}", text)
    assert "lunos-local" not in text  # the stand-in's key
    assert KEY is None or KEY not in text


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_a_cassettes_host_shows_what_it_was_recorded_against(path: Path) -> None:
    host = LIVE_HOST if "live" in path.relative_to(ROOT).parts else STAND_IN_HOST
    for interaction in interactions_of(path):
        assert interaction["request"]["uri"].startswith(host)


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_a_cassette_is_text_without_clocks_and_machines(path: Path) -> None:
    assert "!!binary" not in text_of(path)
    for interaction in interactions_of(path):
        assert set(interaction["request"]["headers"]) <= {
            "accept",
            "authorization",
            "content-type",
            "x-app-id",
        }
        assert set(interaction["response"]["headers"]) <= {
            "content-type",
            "retry-after",
            "x-request-id",
        }


def test_every_cassette_has_its_test_and_every_endpoint_its_cassette() -> None:
    seen = set()
    for path in OURS:
        module = Path(__file__).parent / f"{path.parent.name}.py"
        names = {
            node.name
            for node in ast.walk(ast.parse(module.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert path.stem in names, f"{name_of(path)} belongs to no test"
        for interaction in interactions_of(path):
            sent = interaction["request"]
            where = urlsplit(sent["uri"]).path.removeprefix("/v1/").strip("/")
            stream = '"stream":true' in (sent["body"] or "")
            seen.add((path.parent.name, where, stream))
    modules = {path.parent.name for path in OURS}
    assert len(modules) == 3
    for module in modules:
        assert {
            (module, "chat/completions", False),
            (module, "chat/completions", True),
            (module, "completions", False),
            (module, "completions", True),
            (module, "embeddings", False),
            (module, "images/generations", False),
            (module, "audio/transcriptions", False),
            (module, "public/models", False),
        } <= seen
    assert ("test_recorded_core", "models", False) in seen
