"""`lunos check --deep`: what works, what is missing, and what the report holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lunos_cli.commands import lunos
from lunos_local import LocalGateway
from tests.cli.half_server import KEY, HalfServer


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(lunos, ["check", "--deep", *arguments], input=input)


def report(*arguments: str) -> tuple[Any, Result]:
    done = run("--json", "--yes", *arguments)
    return json.loads(done.stdout), done


def results(told: Any) -> dict[str, str]:
    return {item["route"]: item["result"] for item in told["routes"]}


def test_each_route_of_the_local_gateway_works(service: LocalGateway) -> None:
    told, done = report()
    assert done.exit_code == 0, done.output
    assert set(results(told).values()) == {"works"}
    assert told["is_useful"]
    assert 0 < told["cost"] < 0.1
    chat = next(item for item in told["routes"] if item["route"] == "POST /chat/completions")
    assert chat["shape"]["choices"][0]["message"]["content"] == "str"
    tools = next(item for item in told["routes"] if item["route"].endswith("(tools)"))
    assert tools["shape"]["choices"][0]["message"]["tool_calls"] == "list"  # no deeper
    assert chat["model"] == "openai/gpt-4o-mini"
    assert service.api_key not in done.output
    asked = [entry for entry in service.requests() if entry["body"]]
    assert all((entry["body"].get("max_tokens") or 0) <= 64 for entry in asked)


def test_each_route_of_a_partial_deployment_has_its_own_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", KEY)
    with HalfServer() as server:
        monkeypatch.setenv("LUNOS_BASE_URL", server.base_url)
        told, done = report()
        text = run("--yes")
    assert (done.exit_code, text.exit_code) == (0, 0), text.output
    assert results(told) == {
        "GET /public/models": "missing",
        "GET /models": "works",
        "GET /balance": "fails",
        "POST /chat/completions": "works",
        "POST /chat/completions (streamed)": "works",
        "POST /chat/completions (tools)": "fails",
        "POST /chat/completions (json_schema)": "works",
        "POST /chat/completions (images)": "works",
        "POST /completions": "missing",
        "POST /embeddings": "works",
        "POST /images/generations": "works",
        "POST /audio/generations": "missing",
        "POST /audio/transcriptions": "missing",
    }
    facts = {item["route"]: item["facts"] for item in told["routes"]}
    assert facts["POST /chat/completions"] == ["in an envelope", "no usage", "no cost"]
    assert facts["POST /images/generations"][-1] == "at /image/generations"
    assert "floats, where base64 was asked for" in facts["POST /embeddings"]
    assert "unwrapped" in facts["POST /chat/completions (images)"]
    assert facts["POST /chat/completions (json_schema)"] == ["not as asked"]
    models = {item["route"]: item["model"] for item in told["routes"]}
    assert models["POST /chat/completions"] == "acme/talks"
    assert models["POST /embeddings"] == "acme/embeds"
    assert models["POST /chat/completions (images)"] == "acme/draws"
    assert KEY not in done.output + text.output
    assert "LunosPermissionError" in text.stdout
    assert all(len(line) <= 80 for line in text.stdout.splitlines())
    assert told["routes"][2]["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("missing", ["/v1/chat/completions", "/v1/embeddings"])
def test_without_chat_or_embeddings_the_code_is_1(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", KEY)
    with HalfServer(missing) as server:
        monkeypatch.setenv("LUNOS_BASE_URL", server.base_url)
        told, done = report()
    assert (done.exit_code, told["is_useful"]) == (1, False)
    assert results(told)[f"POST {missing.removeprefix('/v1')}"] == "missing"


@pytest.mark.parametrize("answer", [None, "", "n\n"])
def test_it_asks_before_what_costs_money(service: LocalGateway, answer: str | None) -> None:
    done = run(input=answer)
    assert done.exit_code == 1
    assert "cost money" in done.stderr
    assert "Send them?" in done.stderr
    assert "were not all tried" in done.stdout
    assert {entry["method"] for entry in service.requests()} == {"GET"}
    assert run(input="y\n").exit_code == 0


def test_without_a_key_the_free_routes_are_tried(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUNOS_API_KEY")
    told, done = report()
    assert done.exit_code == 1
    assert results(told)["GET /public/models"] == "works"
    assert results(told)["GET /balance"] == "fails"
    assert results(told)["POST /chat/completions"] == "skipped"


def test_the_model_that_chats_can_be_chosen(service: LocalGateway) -> None:
    told, _ = report("--model", "lunos/scripted")
    models = {item["route"]: item["model"] for item in told["routes"]}
    assert models["POST /chat/completions"] == models["POST /completions"] == "lunos/scripted"


@pytest.mark.parametrize("model", ["lunos/html", "lunos/garbage", "lunos/error-502", "lunos/empty"])
def test_nonsense_in_answers_is_reported(service: LocalGateway, model: str) -> None:
    told, done = report("--model", model)
    assert done.exit_code == 1
    assert results(told)["POST /chat/completions"] == "fails"
    assert results(told)["POST /embeddings"] == "works"


def test_json_and_yes_go_with_deep(service: LocalGateway) -> None:
    for option in ("--json", "--yes"):
        done = CliRunner().invoke(lunos, ["check", option])
        assert done.exit_code == 2
        assert "go with --deep" in done.output
