"""`lunos balance`: what is left, for people and for programs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from lunos_cli.commands import lunos
from lunos_local import LocalGateway
from lunos_local.gateway import _BALANCE as BALANCE


def test_the_balance_is_one_line_or_json(service: LocalGateway) -> None:
    result = CliRunner().invoke(lunos, ["balance"])
    assert (result.exit_code, result.output) == (0, "10.0 left on local@lunos.invalid\n")
    result = CliRunner().invoke(lunos, ["balance", "--json", "--app-id", "shop"])
    assert json.loads(result.output) == {
        "amount": "10.0",
        "email": "local@lunos.invalid",
        "is_low": False,
        "updated_at": "2023-11-14T22:13:20+00:00",
    }
    assert service.requests()[-1]["app_id"] == "shop"


def test_a_low_balance_is_called_low(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BALANCE, "isBalanceLow", True)
    monkeypatch.setitem(BALANCE, "email", "a\x1b[2Jb@lunos.invalid")
    output = CliRunner().invoke(lunos, ["balance"]).output
    assert output.endswith("b@lunos.invalid (low)\n")
    assert "\x1b" not in output


def test_a_missing_key_is_named_before_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUNOS_API_KEY", raising=False)
    result = CliRunner().invoke(lunos, ["balance"])
    assert result.exit_code == 1
    assert "LUNOS_API_KEY" in result.output
