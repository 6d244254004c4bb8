"""Recorded conversations: what is stored, where, and how it is replayed."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
from vcr import VCR
from vcr.cassette import Cassette

from lunos_core import AsyncLunos, Lunos
from lunos_core.accounting.observers import begin_everywhere, end_everywhere
from lunos_local import LocalGateway
from lunos_local.cassettes import STAND_IN_ROOT, ReadableYaml, Redactor
from tests.cassettes.came import Came
from tests.sounds import wav

# as it was at the start: every test begins with these variables taken away
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("LUNOS_")}
# another folder for the tests of this machinery: they record and spoil copies
ROOT = Path(ENVIRONMENT.get("LUNOS_CASSETTE_ROOT") or Path(__file__).parents[2] / "cassettes")


@dataclass(frozen=True)
class Service:
    """Who answers in this test, and which of its models."""

    base_url: str
    api_key: str
    chat: str = "lunos/scripted"
    completion: str = "lunos/scripted"
    embedding: str = "lunos/scripted-embedding"
    image: str = "lunos/scripted-image"
    image_size: str = "16x16"  # the smallest picture is the most readable cassette
    speech: str = "lunos/scripted-whisper"


MODELS = ("chat", "completion", "embedding", "image", "image_size", "speech")


def live_service() -> Service | None:
    """Return the live service, if a key for it is set."""
    key = ENVIRONMENT.get("LUNOS_API_KEY")
    if not key:
        return None
    return Service(
        base_url=ENVIRONMENT.get("LUNOS_BASE_URL") or "https://api.lunos.tech/v1",
        api_key=key,
        chat=_recorded("MODEL", "openai/gpt-4o-mini"),
        completion=_recorded("COMPLETION_MODEL", "openai/gpt-3.5-turbo-instruct"),
        embedding=_recorded("EMBEDDING_MODEL", "openai/text-embedding-3-small"),
        image=_recorded("IMAGE_MODEL", "openai/gpt-image-1-mini"),
        image_size=_recorded("IMAGE_SIZE", "1024x1024"),
        speech=_recorded("SPEECH_MODEL", "openai/whisper-1"),
    )


def _recorded(name: str, default: str) -> str:
    return ENVIRONMENT.get(f"LUNOS_RECORD_{name}") or default


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what records as what it is: it calls a server, and a replay doesn't."""
    if config.getoption("--record-mode", None) not in (None, "none"):
        for item in items:
            if item.get_closest_marker("vcr"):
                item.add_marker("socket")


@pytest.fixture(autouse=True)
def _no_catalog_of_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list that another test left on disk would be used instead of a request."""
    monkeypatch.setenv("LUNOS_CACHE_DIR", str(tmp_path))


@pytest.fixture
def recording(record_mode: str) -> bool:
    return record_mode != "none"


@pytest.fixture
def source(recording: bool, request: pytest.FixtureRequest) -> str:
    """Return which recording: the live service's where there is one, else the stand-in's.

    LUNOS_CASSETTES=live or =stand-in asks for either.
    """
    if recording:
        return "live" if live_service() else "stand-in"
    cassette = _folder_of(request, "live") / f"{request.node.originalname}.yaml"
    chosen = ENVIRONMENT.get("LUNOS_CASSETTES")
    return chosen or ("live" if cassette.exists() else "stand-in")


@pytest.fixture
def vcr_cassette_dir(request: pytest.FixtureRequest, source: str) -> str:
    return str(_folder_of(request, source))


def _folder_of(request: pytest.FixtureRequest, source: str) -> Path:
    module = request.path.stem
    folder = ROOT / "live" if source == "live" else ROOT
    return folder / module.removeprefix("test_recorded_") / module


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    # not the parametrised name: sync and async play one recording, since they send the same
    return str(request.node.originalname)


@pytest.fixture
def faulty(source: str, request: pytest.FixtureRequest) -> None:
    """Mark a test of what only the stand-in does on demand."""
    if source == "live":
        pytest.skip("the live service does not fail on demand")


@pytest.fixture
def sound() -> bytes:
    """Return a tenth of a second of WAV whose bytes are all text, so that the cassette is too."""
    return wav(b"0P" * 400, sample_bytes=1)


@pytest.fixture
def service(recording: bool, source: str) -> Iterator[Service]:
    live = live_service() if source == "live" else None
    if recording and live is None:
        # one for each test: its request ids count from 1, so a new recording is the same
        with LocalGateway() as gateway:
            yield Service(gateway.base_url, gateway.api_key)
    elif source == "live":
        # a replay asks for the models that were recorded
        models = ROOT / "live" / "models.json"
        if live is not None and recording:
            models.parent.mkdir(parents=True, exist_ok=True)
            named = {name: getattr(live, name) for name in MODELS}
            models.write_text(json.dumps(named, indent=1) + "\n", "utf-8")
        recorded = json.loads(models.read_text("utf-8")) if models.exists() else {}
        yield replace(live or Service("https://api.lunos.tech/v1", "replayed"), **recorded)
    else:
        # https: nothing is sent, and plain HTTP to another machine is warned of
        yield Service(STAND_IN_ROOT.replace("http:", "https:") + "/v1", "replayed")


@pytest.fixture
def vcr_config(service: Service) -> dict[str, Any]:
    redactor = Redactor()
    return {
        "match_on": ["method", "path", "query", "body"],
        "before_record_request": redactor.request,
        "before_record_response": redactor.response,
    }


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    vcr.register_serializer("yaml", ReadableYaml)


@pytest.fixture(autouse=True)
def _replayed_whole_and_offline(
    request: pytest.FixtureRequest, recording: bool, service: Service
) -> Iterator[None]:
    if recording or not request.node.get_closest_marker("vcr"):
        yield
        return
    cassette: Cassette = request.getfixturevalue("vcr")
    pytest_socket.disable_socket(allow_unix_socket=True)  # asyncio's own wake-up pair
    try:
        yield
    finally:
        pytest_socket.enable_socket()
    assert cassette.all_played, "the cassette holds requests that the test did not make"


@pytest.fixture(autouse=True)
def came(request: pytest.FixtureRequest, source: str, recording: bool) -> Iterator[Came]:
    """Compare what the test's client returned with what it returned after the last recording.

    `make record` keeps it anew, by a replay with LUNOS_KEEP_CAME=1.
    """
    name = f"{request.path.stem}::{request.node.originalname}"
    results = Came(ROOT / "live" / "came.json" if source == "live" else ROOT / "came.json", name)
    record = results.record
    begin_everywhere(record)
    yield results
    end_everywhere(record)
    if recording or not request.node.get_closest_marker("vcr"):
        return
    if ENVIRONMENT.get("LUNOS_KEEP_CAME"):
        results.keep()
    else:
        results.compare()


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
async def ask(request: pytest.FixtureRequest, service: Service, came: Came) -> AsyncIterator[Ask]:
    """`await ask("chat.completions", ...)` through `Lunos` and through `AsyncLunos`.

    An endpoint is its `create`, or a method of its own: "images.generate", "models.list".
    With `stream=True` it gives the list of chunks.
    """
    settings = {"api_key": service.api_key, "base_url": service.base_url, "max_retries": 0}
    if request.param == "sync":
        with Lunos(**settings) as lunos:

            async def ask_sync(endpoint: str, **params: Any) -> Any:
                with came.or_raises():
                    answer = _endpoint(lunos, endpoint)(**params)
                    return came(list(answer) if params.get("stream") else answer)

            yield ask_sync
        return
    async with AsyncLunos(**settings) as async_lunos:

        async def ask_async(endpoint: str, **params: Any) -> Any:
            with came.or_raises():
                answer = await _endpoint(async_lunos, endpoint)(**params)
                return came([chunk async for chunk in answer] if params.get("stream") else answer)

        yield ask_async


def _endpoint(lunos: Any, name: str) -> Any:
    for part in name.split("."):
        lunos = getattr(lunos, part)
    return getattr(lunos, "create", lunos)
