"""Key, routes, catalog, log, start and stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest

from lunos_local import LocalGateway, create_app
from tests.local.wire import Wire


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", "Basic lunos-local", "schlüssel"]
)
def test_a_missing_or_wrong_key_is_a_401_with_a_bare_string(wire: Wire, header: str | None) -> None:
    headers = {"authorization": header.encode()} if header else {}
    response = httpx.get(f"{wire.gateway.base_url}/models", headers=headers)
    assert (response.status_code, response.json()) == (401, {"error": "Invalid secret key"})


def test_the_public_catalog_and_the_log_need_no_key(wire: Wire) -> None:
    assert httpx.get(f"{wire.root}/public/models").status_code == 200
    assert httpx.get(f"{wire.root}/requests").status_code == 200


def test_the_public_catalog_has_the_shape_of_the_reference(wire: Wire) -> None:
    body = httpx.get(f"{wire.root}/public/models").json()
    assert body["status"] == "success"
    assert "processing_time" in body["meta"]
    model = next(item for item in body["data"]["models"] if item["id"] == "lunos/scripted")
    assert model["object"] == "model"
    assert model["pricing"] == {"input": 0.0, "output": 0.0, "unit": "token", "currency": "USD"}
    assert {"chat-completion", "text-completion"} <= set(model["capabilities"])


def test_the_catalog_is_filtered_by_modalities(wire: Wire) -> None:
    def ids(query: str) -> set[str]:
        return {model["id"] for model in wire.http.get(f"/models{query}").json()["data"]}

    assert {"lunos/scripted", "local/extractive", "lunos/scripted-embedding"} <= ids("")
    seeing = ids("?input=text,image&output=text")
    assert "lunos/scripted" in seeing
    assert "local/extractive" not in seeing
    assert {name for name in ids("?output=embeddings") if "embedding" not in name} == set()
    assert "lunos/scripted-embedding" in ids("?output=embeddings")


def test_the_catalog_is_honest_about_the_extractive_model(wire: Wire) -> None:
    models = wire.http.get("/models").json()["data"]
    model = next(item for item in models if item["id"] == "local/extractive")
    assert "generates nothing" in model["description"]
    assert "response_format" not in model["supportedParameters"]
    assert model["supportReasoning"] is False
    assert model["inputModalities"] == ["text"]


def test_an_unknown_route_or_method_is_a_json_error(wire: Wire) -> None:
    missing = wire.http.get("/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert wire.http.get("/chat/completions").status_code == 405
    assert "error" in wire.http.get("/chat/completions").json()


def test_the_log_keeps_app_id_model_status_and_body_but_never_the_key(wire: Wire) -> None:
    wire.http.post(
        "/chat/completions",
        json={"model": "lunos/error-429", "messages": [{"role": "user", "content": "hi"}]},
        headers={"X-App-ID": "billing"},
    )
    response = wire.chat(stream=True)
    first, second = wire.gateway.requests()
    assert (first["app_id"], first["model"], first["status"]) == ("billing", "lunos/error-429", 429)
    assert (second["app_id"], second["stream"], second["status"]) == ("Unknown", True, 200)
    assert second["request_id"] == response.headers["x-request-id"]
    assert second["body"]["messages"] == [{"role": "user", "content": "Hello there"}]
    assert (second["method"], second["path"]) == ("POST", "/v1/chat/completions")
    assert wire.gateway.api_key not in str(wire.gateway.requests())


def test_the_log_is_served_and_can_be_emptied(wire: Wire) -> None:
    wire.chat()
    assert httpx.get(f"{wire.root}/requests").json()["requests"] == wire.gateway.requests()
    assert httpx.delete(f"{wire.root}/requests").json() == {"requests": []}
    assert wire.gateway.requests() == []


def test_two_gateways_run_beside_each_other_with_their_own_keys_and_logs() -> None:
    with LocalGateway(api_key="one") as first, LocalGateway(api_key="two") as second:
        assert first.base_url != second.base_url
        answer = httpx.get(f"{second.base_url}/models", headers={"authorization": "Bearer two"})
        assert answer.status_code == 200
        assert first.requests() == []
        assert len(second.requests()) == 1


def test_a_fixed_port_can_be_used_again_at_once() -> None:
    with LocalGateway() as first:
        port = int(first.base_url.rsplit(":", 1)[1].split("/")[0])
    for _ in range(2):
        with LocalGateway(port=port) as again:
            assert httpx.get(f"http://127.0.0.1:{port}/public/models").status_code == 200
            assert again.base_url == first.base_url


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_behind() -> None:
    with LocalGateway() as first:
        port = int(first.base_url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(OSError, match="in use"), LocalGateway(port=port):
            pass


def test_leaving_ends_open_streams_and_stalls() -> None:
    body = {"model": "lunos/stall", "messages": [{"role": "user", "content": "hi"}]}
    outcome: list[str] = []

    def wait(stream: bool) -> None:
        try:
            answer = httpx.post(url, json={**body, "stream": stream}, headers=headers, timeout=30)
            outcome.append(str(answer.status_code))
        except httpx.HTTPError as error:
            outcome.append(type(error).__name__)

    with LocalGateway() as gateway:
        url = f"{gateway.base_url}/chat/completions"
        headers = {"authorization": f"Bearer {gateway.api_key}"}
        threads = [threading.Thread(target=wait, args=(stream,)) for stream in (True, False)]
        for thread in threads:
            thread.start()
        while len(gateway.requests()) < 2:
            pass
    for thread in threads:
        thread.join(10)
    assert len(outcome) == 2


def test_the_app_can_be_called_without_a_socket() -> None:
    app = create_app(api_key="k")

    async def ask() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            response = await client.get("/v1/models", headers={"authorization": "Bearer k"})
            return response.status_code

    import asyncio

    assert asyncio.run(ask()) == 200


def test_importing_the_package_loads_no_web_server() -> None:
    code = "import sys, lunos_local; print({'starlette', 'uvicorn', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_starlette_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    from lunos_local import LocalGateway\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "lunos-integrations[local]"' in done.stdout


def test_the_command_prints_its_address_and_stops_on_a_signal() -> None:
    command = [sys.executable, "-u", "-m", "lunos_local", "--port", "0", "--no-real-models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", first)
        assert url, first
        second = process.stdout.readline()
        assert "lunos-local" in second
        headers = {"authorization": "Bearer lunos-local"}
        assert httpx.get(f"{url[0]}/models", headers=headers).status_code == 200
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 0


def test_the_command_ends_in_one_line_when_its_port_is_taken() -> None:
    with LocalGateway() as gateway:
        port = gateway.base_url.rsplit(":", 1)[1].split("/")[0]
        command = [sys.executable, "-m", "lunos_local", "--port", port, "--no-real-models"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert port in done.stderr


def test_the_command_without_its_extra_names_the_extra() -> None:
    code = (
        "import sys, runpy; sys.modules.update(starlette=None, uvicorn=None); "
        "runpy.run_module('lunos_local', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'pip install "lunos-integrations[local]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_an_impossible_port_ends_in_one_line() -> None:
    command = [sys.executable, "-m", "lunos_local", "--no-real-models", "--port", "99999999"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
