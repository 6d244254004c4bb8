"""How much a request may take of the gateway: size, depth, time and memory."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_core import AsyncClient, Config, chat_request, chat_stream_request
from lunos_local import LocalGateway, door, protocol
from tests.local.wire import Wire, tool

MEGABYTE = 2**20


def schema_request(schema: Any, **fields: Any) -> dict[str, Any]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    }


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


NODE = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
WIDE: dict[str, Any] = {"type": "array", "minItems": 900, "items": {"type": "integer"}}
BAD_SCHEMAS: list[Any] = [
    {"type": "string", "minLength": 10**9},
    {"type": "string", "minLength": 10**400},
    {"type": "string", "minLength": -1},
    {"type": "string", "minLength": "9"},
    {"type": "array", "minItems": 10**9},
    {"type": "array", "minItems": 900, "items": {**WIDE, "items": WIDE}},
    {"type": "array", "minItems": 1000, "items": {"type": "string", "minLength": 10_000}},
    deep(80),
    NODE,
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"enum": list(range(50_000))},
    {"enum": []},
    {"type": "string", "pattern": "(a{1,999999999}){1,999999999}"},
    {"type": "string", "pattern": "(" * 5_000},
    {"properties": {str(i): {} for i in range(30_000)}},
    {"properties": 7},
    {"properties": {"a": 7}},
    {"required": [7]},
    {"type": "integer", "multipleOf": 0},
    {"type": "integer", "minimum": "x"},
    {"items": 7},
    {"$ref": 7},
    {"anyOf": 7},
]


@pytest.mark.parametrize("schema", BAD_SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
@pytest.mark.parametrize("model", ["lunos/scripted", "local/stand-in"])
def test_a_schema_without_bounds_is_a_400(wire: Wire, schema: Any, model: str) -> None:
    response = wire.chat(model=model, **schema_request(schema))
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("model", ["lunos/scripted", "local/stand-in", "local/extractive"])
def test_a_tools_parameters_have_the_same_bounds(wire: Wire, model: str) -> None:
    for schema in ({"type": "string", "minLength": 10**9}, {"type": "array", "minItems": 10**9}):
        response = wire.chat("fill f", model=model, tools=[tool("fill", a=schema)])
        assert (response.status_code, response.json()["error"]["code"]) == (400, "schema_too_large")


def test_a_large_schema_within_the_bounds_is_filled(wire: Wire) -> None:
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 5_000, "pattern": r"\w{1,900}"},
            "list": {"type": "array", "minItems": 500, "items": {"type": "integer"}},
            "kind": {"enum": list(range(1_000))},
            "deep": deep(20),
        },
        "required": ["text", "list", "kind", "deep"],
    }
    answer = json.loads(wire.message(**schema_request(schema))["content"])
    assert (len(answer["text"]), len(answer["list"])) == (5_000, 500)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 200_000, "nested_too_deeply"),
        (b'{"a":' * 200_000, "nested_too_deeply"),
        (b'{"model": "x", "messages": ' + b"[" * 101 + b"]" * 101 + b"}", "nested_too_deeply"),
        (b"[" + b"1," * 400_000 + b"1]", "too_complex"),
        (b'{"model": NaN}', "invalid_json"),
        (b"[1" + b"0" * 5000 + b"]", "invalid_json"),
    ],
    ids=["arrays", "objects", "balanced", "values", "NaN", "digits"],
)
def test_a_body_that_would_blow_up_is_a_400(wire: Wire, body: bytes, code: str) -> None:
    for path in ("/chat/completions", "/completions", "/embeddings", "/images/generations"):
        response = wire.http.post(path, content=body)
        assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert httpx.get(f"{wire.root}/requests").status_code == 200


def test_a_body_that_is_too_large_is_a_413_whole_and_chunked(wire: Wire) -> None:
    body = b" " * (door.MAX_JSON + 1)
    whole = wire.http.post("/chat/completions", content=body)
    pieces = (body[i : i + MEGABYTE] for i in range(0, len(body), MEGABYTE))
    chunked = wire.http.post("/chat/completions", content=pieces)
    for response in (whole, chunked):
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert wire.chat().status_code == 200


def test_a_large_image_request_and_too_many_vectors_are_a_400(wire: Wire) -> None:
    image = {"model": "lunos/scripted-image", "prompt": "x", "size": "9999x9999"}
    assert wire.http.post("/images/generations", json=image).json()["error"]["param"] == "size"
    response = wire.embed(["x"] * 2048, dimensions=4096)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")


@pytest.mark.slow
def test_hard_texts_are_answered(wire: Wire) -> None:
    for text in (
        "\n" * 200_000 + "x",
        "“" * 200_000,
        "'" * 200_000,
        "! " * 200_000,
        "Aa " * 99_999,
    ):
        for model in ("local/extractive", "lunos/scripted"):
            assert wire.complete(text, model=model).status_code == 200
            assert (
                wire.chat(text, model=model, tools=[tool("f", a={"type": "string"})]).status_code
                == 200
            )


def talk(gateway: LocalGateway, *pieces: bytes) -> bytes:
    """Send bytes on a raw connection and return all that comes back."""
    port = int(re.search(r":(\d+)/", gateway.base_url)[1])  # type: ignore[index]  # it has a port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGateway]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(door, "BODY_SECONDS", 0.3)
    with LocalGateway() as running:
        yield running


HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    b"authorization: Bearer lunos-local\r\n"
)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET / HTTP/1.1\r\nhost: localhost\r\n"], b"408"),
        ([b"GET /public/models HTTP/1.1\r\nhost: localhost\r\n\r\n", b"GET / HT"], b"408"),
        ([b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000], b"431"),
        ([b"nonsense\r\n\r\n"], b"400"),
        ([HEAD + b"content-length: 99\r\n\r\n{"], b"408"),
        ([HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"], b"408"),
        ([HEAD + b"content-length: 999999999999\r\n\r\n{"], b"413"),
    ],
    ids=["head", "second head", "large head", "no HTTP", "body", "chunked body", "claimed length"],
)
def test_a_half_open_request_is_answered_and_closed(
    hurried: LocalGateway, pieces: list[bytes], status: bytes
) -> None:
    last = talk(hurried, *pieces).split(b"HTTP/1.1 ")[-1]
    assert last.startswith(status)
    head, _, body = last.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"]


def test_a_connection_without_a_request_is_closed(hurried: LocalGateway) -> None:
    assert talk(hurried) == b""


@contextmanager
def command() -> Iterator[tuple[int, str]]:
    """The gateway in a process of its own: its id and base URL."""
    arguments = [sys.executable, "-u", "-m", "lunos_local", "--port", "0", "--no-real-models"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stdout.readline())
        assert url
        try:
            yield process.pid, url[0]
        finally:
            os.kill(process.pid, signal.SIGINT)
            process.wait(20)


def attack(url: str, name: str) -> None:
    key = {"authorization": "Bearer lunos-local"}
    message = [{"role": "user", "content": "hi"}]
    hashes = " ".join(f"w{i}" for i in range(1_000))
    vectors = {"model": "lunos/scripted-embedding", "input": [hashes] * 900, "dimensions": 4096}
    bodies: dict[str, Any] = {
        "schema": {"model": "lunos/scripted", "messages": message,
                   **schema_request({"type": "array", "minItems": 1000, "items": WIDE})},
        "vectors": vectors,
        "image": {"model": "lunos/scripted-image", "prompt": "x", "n": 8, "size": "2048x2048",
                  "response_format": "b64_json"},
        "quotes": {"model": "lunos/scripted", "response_format": {"type": "json_object"},
                   "messages": [{"role": "user", "content": "'ab' " * (3 * MEGABYTE)}]},
        "echo": {"model": "lunos/scripted", "prompt": "a " * (8 * MEGABYTE), "echo": True,
                 "stream": True},
    }  # fmt: skip
    raw = {
        "deep": b"[" * 200_000,
        "values": b'{"model": "x", "messages": [' + b"[]," * 140_000 + b"[]]}",
        "large": b'{"model": "lunos/scripted", "messages": [{"role": "user", "content": "'
        + b"x" * (18 * MEGABYTE)
        + b'"}]}',
        "too large": b" " * (24 * MEGABYTE),
    }
    paths = {"vectors": "/embeddings", "image": "/images/generations", "echo": "/completions"}
    content = raw[name] if name in raw else json.dumps(bodies[name]).encode()
    for headers in (key, {}) if name in raw else (key,):
        try:
            answer = httpx.post(
                url + paths.get(name, "/chat/completions"),
                content=content,
                headers=headers,
                timeout=60,
            )
            assert answer.status_code in (200, 400, 401, 413, 503)
        except httpx.HTTPError:
            pass  # a connection that is cut is a refusal too


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")
def test_the_process_stays_small_in_an_attack() -> None:
    names = ["schema", "vectors", "image", "deep", "values", "large", "too large"]
    names += ["quotes", "echo"]
    with command() as (pid, url):
        threads = [threading.Thread(target=attack, args=(url, name)) for name in names * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]  # Linux has it
        answer = httpx.get(f"{url}/models", headers={"authorization": "Bearer lunos-local"})
    assert answer.status_code == 200
    assert peak < 512, f"{peak:.0f} MB"


def test_a_long_stream_keeps_nobody_waiting(wire: Wire) -> None:
    body = {"model": "lunos/scripted", "prompt": "a " * 20_000, "echo": True, "stream": True}
    with wire.http.stream("POST", "/completions", json=body) as stream:
        lines = stream.iter_lines()
        while "data: " not in next(lines):
            pass
        busy = threading.Event()
        rest = threading.Thread(target=lambda: [*lines, busy.set()])
        rest.start()
        answers = [wire.chat().status_code for _ in range(3)]
        assert not busy.is_set()
        rest.join(60)
    assert answers == [200] * 3


@pytest.mark.slow
async def test_500_clients_at_once_are_all_answered(gateway: LocalGateway) -> None:
    """Each with a connection of its own, half of them streams."""

    async def ask(i: int) -> str:
        config = Config(api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0)
        hello = [{"role": "user", "content": f"number {i}"}]
        async with AsyncClient(config) as client:
            if i % 2:
                return (await client.send(chat_request(hello, model="lunos/scripted"))).text
            stream = await client.stream(chat_stream_request(hello, model="lunos/scripted"))
            return "".join([chunk.text async for chunk in stream])

    answers = await asyncio.gather(*(ask(i) for i in range(500)))
    assert answers == [f"Scripted answer to: number {i}" for i in range(500)]
