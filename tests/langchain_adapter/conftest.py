"""What the tests of this adapter share."""

from __future__ import annotations

import struct
import wave
import zlib
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lunos_local import LocalGateway

CASSETTES = Path(__file__).parents[2] / "cassettes" / "langchain_adapter"


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """For the one recorded test of LangChain's suite: by path and body, since ports change."""

    def plain(request: Any) -> Any:
        # vcrpy's own headers cannot be written as YAML
        request.headers = {"content-type": "application/json"}
        request.uri = f"http://local-gateway.invalid{request.path}"
        return request

    return {
        "match_on": ["method", "path", "body"],
        "before_record_request": plain,
        "allow_playback_repeats": True,  # it is a benchmark: it asks many times
    }


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    return str(CASSETTES / request.path.stem)


@pytest.fixture(scope="class")
def gateway_of_class(request: pytest.FixtureRequest, gateway: LocalGateway) -> None:
    """LangChain's suites ask for parameters as properties of the class."""
    request.cls.gateway = gateway


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain's suite fetches a PDF, a sound and a picture; here they are made."""
    made = {".pdf": _pdf(), ".wav": _wav(), ".png": _png()}

    def get(url: str, **_: Any) -> Any:
        kind = next((kind for kind in made if url.lower().endswith(kind)), ".png")
        return SimpleNamespace(content=made[kind])

    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nothing is fetched")
    monkeypatch.setattr(
        "langchain_tests.integration_tests.chat_models.httpx", SimpleNamespace(get=get)
    )


def _pdf() -> bytes:
    return b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def _wav() -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 80)
    return out.getvalue()


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")
