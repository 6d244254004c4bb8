"""Who may ask the gateway: hosts, origins and keys; and no secret in its log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_local import LocalGateway, create_app
from tests.local.wire import Wire

HELLO = {"model": "lunos/scripted", "messages": [{"role": "user", "content": "hi"}]}
KEYED = ["/v1/models", "/v1/balance", "/requests"]
ROUTES = [*KEYED, "/", "/public/models", "/files/a.png", "/nothing"]


def root(gateway: LocalGateway) -> str:
    return gateway.base_url.removesuffix("/v1")


def get(gateway: LocalGateway, path: str, key: bool = True, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        given["authorization"] = f"Bearer {gateway.api_key}"
    return httpx.get(root(gateway) + path, headers=given)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:80", "@"]
)
def test_a_rebound_host_is_refused_on_every_route(wire: Wire, path: str, host: str) -> None:
    response = get(wire.gateway, path, host=host)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "app.localhost", "127.9.9.9", "[::1]:8484", "192.0.2.1"]
)
def test_an_address_or_localhost_is_allowed(wire: Wire, host: str) -> None:
    assert get(wire.gateway, "/v1/models", host=host).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "http://[::1]:3000"}, 200),
        ({"origin": "https://evil.test"}, 401),
        ({"origin": "null"}, 401),
        ({"origin": "https://localhost.evil.test"}, 401),
        ({"host": "192.0.2.1"}, 401),
        ({"sec_fetch_site": "cross-site"}, 401),
    ],
)
def test_the_log_needs_the_key_or_a_local_page(
    wire: Wire, headers: dict[str, str], status: int
) -> None:
    wire.chat()
    for method in ("GET", "DELETE"):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx.request(method, f"{wire.root}/requests", headers=named)
        assert answer.status_code == status
    assert len(wire.gateway.requests()) == (0 if status == 200 else 1)
    assert get(wire.gateway, "/requests", **headers).status_code == 200


def test_another_machine_needs_the_key_for_the_log() -> None:
    app = create_app(api_key="k")

    async def ask(client: tuple[str, int], **headers: str) -> int:
        transport = httpx.ASGITransport(app=app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return (await http.get("/requests", headers=headers)).status_code

    assert asyncio.run(ask(("127.0.0.1", 1))) == 200
    assert asyncio.run(ask(("192.0.2.9", 1))) == 401
    assert asyncio.run(ask(("192.0.2.9", 1), **{"x-forwarded-for": "127.0.0.1"})) == 401
    assert asyncio.run(ask(("192.0.2.9", 1), authorization="Bearer k")) == 200


def test_a_further_host_can_be_allowed() -> None:
    app = create_app(api_key="k", hosts=["gateway"])

    async def ask(host: str) -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return (await http.get("/public/models", headers={"host": host})).status_code

    assert [asyncio.run(ask(host)) for host in ("gateway:8484", "other")] == [200, 403]


def test_a_request_without_the_key_is_neither_parsed_nor_logged(wire: Wire) -> None:
    response = httpx.post(f"{wire.gateway.base_url}/chat/completions", json=HELLO)
    assert (response.status_code, response.json()) == (401, {"error": "Invalid secret key"})
    entry = wire.gateway.requests()[-1]
    assert (entry["status"], entry["body"], entry["model"]) == (401, None, None)


SECRET = "sk-live-0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    ["x-api-key", "api-key", "cookie", "proxy-authorization", "x-amz-security-token",
     "x-goog-api-key", "x-auth-token", "x-csrf-token", "x-client-secret", "x-note"],
)  # fmt: skip
def test_no_header_brings_a_secret_into_the_log(wire: Wire, name: str) -> None:
    wire.http.post("/chat/completions?api_key=" + SECRET, json=HELLO, headers={name: SECRET})
    text = str(wire.gateway.requests()) + httpx.get(f"{wire.root}/requests").text
    assert SECRET not in text
    assert "REDACTED" in text


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "hunter2"},
        {"user": f"key {SECRET}"},
        {"metadata": {"nested": [{"password": "hunter2"}, f"Bearer {SECRET}"]}},
        {"metadata": {SECRET: 1}},
        {"user": "lunos-local"},
    ],
)
def test_no_field_brings_a_secret_into_the_log(wire: Wire, fields: dict[str, Any]) -> None:
    wire.http.post("/chat/completions", json={**HELLO, **fields})
    body = wire.gateway.requests()[-1]["body"]
    assert body["messages"] == HELLO["messages"]
    for secret in (SECRET, "hunter2", wire.gateway.api_key):
        assert secret not in str(body)


def test_what_only_sounds_like_a_secret_stays_in_the_log(wire: Wire) -> None:
    fields = {"max_tokens": 5, "user": "keyboard", "metadata": {"author": "Ada", "tokens": "7"}}
    wire.http.post(
        "/chat/completions",
        json={**HELLO, **fields},
        headers={"X-App-ID": "auth-service", "idempotency-key": "i1"},
    )
    entry = wire.gateway.requests()[-1]
    assert entry["body"] == {**HELLO, **fields}
    assert entry["app_id"] == "auth-service"
    assert entry["headers"]["idempotency-key"] == "i1"


def test_image_urls_have_the_gateways_own_address(wire: Wire) -> None:
    body = {"model": "lunos/scripted-image", "prompt": "x"}
    headers = {"host": "192.0.2.1:1", "x-forwarded-host": "evil.test"}
    image = wire.http.post("/images/generations", json=body, headers=headers).json()["data"][0]
    assert image["url"].startswith(f"{wire.root}/files/")
    assert httpx.get(image["url"]).status_code == 200


def test_a_path_with_a_slash_too_many_isnt_redirected(wire: Wire) -> None:
    assert httpx.get(f"{wire.root}/public/models/").status_code == 404


COMMAND = [sys.executable, "-u", "-m", "lunos_local", "--no-real-models", "--port", "0"]


def test_a_key_on_the_command_line_is_refused_with_the_remedy() -> None:
    done = subprocess.run([*COMMAND, "--api-key", "s3"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "LUNOS_API_KEY" in last
    assert "--api-key-file" in last
    assert "s3" not in last


@pytest.mark.parametrize("content", [None, "", b"\xff"])
def test_a_key_file_that_cant_be_read_is_one_line(
    tmp_path: Path, content: str | bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = subprocess.run(
        [*COMMAND, "--api-key-file", str(file)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_key_of_ones_own_is_used_and_not_printed(tmp_path: Path, where: str) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    options = ["--api-key-file", str(tmp_path / "key")] if where == "file" else []
    environment = {**os.environ, **({} if options else {"LUNOS_API_KEY": SECRET})}
    with subprocess.Popen(
        [*COMMAND, *options], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        url = said[0].split()[-1]
        statuses = [
            httpx.get(f"{url}/models", headers={"authorization": f"Bearer {key}"}).status_code
            for key in (SECRET, "lunos-local")
        ]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 0
    assert statuses == [200, 401]
    assert SECRET not in "".join(said)
