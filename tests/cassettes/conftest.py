"""Recorded conversations: what is kept of one, where it lies, and how it is played back."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
import yaml
from vcr import VCR
from vcr.cassette import Cassette
from vcr.request import Request

from lunos_core import AsyncLunos, Lunos
from lunos_local import LocalGateway

ROOT = Path(__file__).parents[2] / "cassettes"
# as it was at the start: every test begins with these variables taken away
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("LUNOS_")}
# the stand-in's host in a cassette, and the key of a replay; a live cassette keeps its host
STAND_IN = "http://local-gateway.invalid/v1"
SCRUBBED = "SCRUBBED"
# headers that say something and are the same when nothing has changed
KEPT_OF_REQUEST = ("accept", "authorization", "content-type", "x-app-id")
KEPT_OF_RESPONSE = ("content-type", "retry-after", "x-request-id")


@dataclass(frozen=True)
class Service:
    """Who answers in this test, and which of its models."""

    base_url: str
    api_key: str
    chat: str = "lunos/scripted"
    completion: str = "lunos/scripted"
    embedding: str = "lunos/scripted-embedding"


def live_service() -> Service | None:
    """The live service, where a key for it is set."""
    key = ENVIRONMENT.get("LUNOS_API_KEY")
    if not key:
        return None
    return Service(
        base_url=ENVIRONMENT.get("LUNOS_BASE_URL") or "https://api.lunos.tech/v1",
        api_key=key,
        chat=ENVIRONMENT.get("LUNOS_RECORD_MODEL", "openai/gpt-4o-mini"),
        completion=ENVIRONMENT.get(
            "LUNOS_RECORD_COMPLETION_MODEL", "openai/gpt-3.5-turbo-instruct"
        ),
        embedding=ENVIRONMENT.get("LUNOS_RECORD_EMBEDDING_MODEL", "openai/text-embedding-3-small"),
    )


def _recorded(name: str, default: str) -> str:
    return ENVIRONMENT.get(f"LUNOS_RECORD_{name}") or default


@pytest.fixture
def recording(record_mode: str) -> bool:
    return record_mode != "none"


@pytest.fixture
def source(recording: bool) -> str:
    """Whose recordings: the stand-in's, or (LUNOS_CASSETTES=live) the live service's."""
    if recording:
        return "live" if live_service() else "stand-in"
    return ENVIRONMENT.get("LUNOS_CASSETTES", "stand-in")


@pytest.fixture
def vcr_cassette_dir(request: pytest.FixtureRequest, source: str) -> str:
    module = request.path.stem
    adapter = module.removeprefix("test_recorded_")
    return str((ROOT / "live" if source == "live" else ROOT) / adapter / module)


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    # not the parametrised name: sync and async play one recording, since they send the same
    return str(request.node.originalname)


@pytest.fixture
def service(recording: bool, source: str) -> Iterator[Service]:
    live = live_service() if source == "live" else None
    if recording and live is None:
        # one for each test: its request ids count from 1, so a new recording is the same
        with LocalGateway() as gateway:
            yield Service(gateway.base_url, gateway.api_key)
    elif source == "live":
        yield live or Service("https://api.lunos.tech/v1", "replayed")
    else:
        # https: nothing is sent, and plain HTTP to another machine is warned of
        yield Service(STAND_IN.replace("http:", "https:"), "replayed")


@pytest.fixture
def vcr_config(service: Service) -> dict[str, Any]:
    def keep_of_request(request: Request) -> Request:
        if "127.0.0.1" in request.uri:
            request.uri = re.sub(r"^http://127\.0\.0\.1:\d+/v1", STAND_IN, request.uri)
        kept = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() in KEPT_OF_REQUEST
        }
        if "authorization" in kept:
            kept["authorization"] = f"Bearer {SCRUBBED}"
        request.headers = kept
        return request

    def keep_of_response(response: dict[str, Any]) -> dict[str, Any]:
        headers = {
            name.lower(): [str(one) for one in ([value] if isinstance(value, str) else value)]
            for name, value in response["headers"].items()
            if name.lower() in KEPT_OF_RESPONSE
        }
        body = response["body"]["string"].replace(service.api_key.encode(), SCRUBBED.encode())
        return {**response, "headers": headers, "body": {"string": body}}

    return {
        "match_on": ["method", "path", "body"],
        "before_record_request": keep_of_request,
        "before_record_response": keep_of_response,
        "decode_compressed_response": True,
    }


class _Readable:
    """YAML with bodies as blocks of text, as they came."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        text: str = yaml.dump(
            cassette, Dumper=_BlockDumper, allow_unicode=True, sort_keys=False, width=100_000
        )
        return text

    @staticmethod
    def deserialize(text: str) -> Any:
        return yaml.safe_load(text)


class _BlockDumper(yaml.SafeDumper):
    def represent_str(self, text: str) -> yaml.Node:
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
        )


_BlockDumper.add_representer(str, _BlockDumper.represent_str)


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    vcr.register_serializer("yaml", _Readable)


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


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
async def ask(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Ask]:
    """`await ask("chat.completions", ...)` through `Lunos` and through `AsyncLunos`.

    With `stream=True` it gives the list of chunks.
    """
    settings = {"api_key": service.api_key, "base_url": service.base_url, "max_retries": 0}
    if request.param == "sync":
        with Lunos(**settings) as lunos:

            async def ask_sync(endpoint: str, **params: Any) -> Any:
                answer = _endpoint(lunos, endpoint).create(**params)
                return list(answer) if params.get("stream") else answer

            yield ask_sync
        return
    async with AsyncLunos(**settings) as async_lunos:

        async def ask_async(endpoint: str, **params: Any) -> Any:
            answer = await _endpoint(async_lunos, endpoint).create(**params)
            return [chunk async for chunk in answer] if params.get("stream") else answer

        yield ask_async


def _endpoint(lunos: Any, name: str) -> Any:
    for part in name.split("."):
        lunos = getattr(lunos, part)
    return lunos
