"""`lunos` on the command line, against the local gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lunos_cli.commands import lunos
from lunos_core import CallRecord, Usage, UsageLedger
from lunos_local import LocalGateway


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lunos, arguments, env={"COLUMNS": "200"})


def test_models_is_a_table(service: LocalGateway) -> None:
    done = run("models")
    assert done.exit_code == 0, done.output
    assert "in $/M" in done.output
    assert "lunos/scripted-embedding" in done.output


def test_models_are_found_by_options_and_given_as_json(service: LocalGateway) -> None:
    done = run("models", "--capability", "embeddings", "--max-input-price", "1", "--json")
    models = json.loads(done.stdout)
    assert "lunos/scripted-embedding" in [model["id"] for model in models]
    assert "lunos/scripted" not in [model["id"] for model in models]
    assert all(float(model["input_price"]) * 1e6 <= 1 for model in models)


def test_check_prints_one_line_for_each_fact(service: LocalGateway) -> None:
    done = run("check", "--model", "lunos/scripted")
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["ok"] * 4
    assert service.api_key not in done.output


def test_check_names_what_is_wrong(service: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", "wrong")
    done = run("check", "--model", "lunos/scripted")
    assert done.exit_code == 1
    assert f"call of lunos/scripted: {service.base_url} refuses the key" in done.output
    assert "status 401" in done.output
    monkeypatch.delenv("LUNOS_API_KEY")
    assert "FAILED  key: no Lunos API key" in run("check").output


def test_a_gateway_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("lunos_core.transport.retry.FIRST_DELAY", 0.0, raising=False)
    done = run("models")
    assert done.exit_code == 1
    assert done.output.startswith(
        "Error: nothing answers at http://127.0.0.1:9/v1 (LUNOS_BASE_URL)"
    )
    assert len(done.output.splitlines()) == 1
    last = run("check").output.splitlines()[-1]
    assert last == "skipped the call: no catalog to choose a model from; name one with --model"


@pytest.mark.parametrize("command", ["models", "check"])
def test_a_base_url_that_leads_elsewhere_is_one_line(
    command: str, service: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", f"{service.base_url}/elsewhere")
    done = run(command)
    assert done.exit_code == 1
    asked = f"is {service.base_url}/elsewhere/v1 (LUNOS_BASE_URL) a Lunos gateway?"
    (line,) = [line for line in done.output.splitlines() if "gateway?" in line]
    assert asked in line
    monkeypatch.setenv("LUNOS_BASE_URL", "localhost:8484")
    done = run(command)
    assert done.output.startswith("Error: base_url must look like")
    assert len(done.output.splitlines()) == 1


def test_with_a_key_the_table_has_what_the_public_list_leaves_out(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "131,072" in run("models").output
    models = json.loads(run("models", "--min-context", "100000", "--json").stdout)
    assert {model["context_window"] for model in models} == {131072}
    monkeypatch.setenv("LUNOS_API_KEY", "wrong")
    done = run("models")
    assert done.exit_code == 1
    assert "refuses the key (LUNOS_API_KEY)" in done.output
    assert len(done.output.splitlines()) == 1
    monkeypatch.delenv("LUNOS_API_KEY")
    assert "lunos/scripted" in run("models").output
    assert "gives few details without a key" in run("models", "--min-context", "9").output


def test_a_price_that_isnt_a_number_is_one_line(service: LocalGateway) -> None:
    done = run("models", "--max-input-price", "nan")
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_usage_shows_a_written_ledger(kind: str, tmp_path: Path) -> None:
    ledger = UsageLedger()
    spent: Any = Usage(input_tokens=9, output_tokens=3, cost=0.25, cost_source="gateway")
    ledger.record(CallRecord("billing", "m", "/chat/completions", 1, 0.5, None, spent, None))
    file = tmp_path / f"usage.{kind}"
    getattr(ledger, f"write_{kind}")(file)
    done = run("usage", str(file))
    assert done.exit_code == 0
    assert "billing" in done.output
    assert "0.250000" in done.output


def test_usage_draws_into_a_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ledger = UsageLedger()
    ledger.record(CallRecord("a", "m", "/chat/completions", 1, 0.5, None, Usage(cost=1.0), None))
    ledger.write_json(tmp_path / "usage.json")
    done = run("usage", str(tmp_path / "usage.json"), "--plot", str(tmp_path / "usage.png"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "usage.png").read_bytes().startswith(b"\x89PNG")


def test_usage_refuses_another_file_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "other.csv").write_text("a,b\n")
    for name in ("other.json", "missing.json", "picture.png", "empty.csv", "other.csv"):
        done = run("usage", str(tmp_path / name))
        assert done.exit_code in (1, 2)
        assert len(done.output.splitlines()) == 1


def test_local_hands_its_options_on() -> None:
    done = run("local", "--help")
    assert "--gguf" in done.output
