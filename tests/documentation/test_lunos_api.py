"""The page on the Lunos API names what the code does, and the report on it is of 80 columns."""

from __future__ import annotations

import ast
import re

from lunos_core.compatibility.probes import PROBES
from lunos_core.endpoints.params import WEB_SEARCH
from tests.documentation.markdown_blocks import DOCS, ROOT

PAGE = (DOCS / "lunos-api.md").read_text("utf-8")
ROUTES = set(re.findall(r"`(?:GET|POST) (/[\w/{}]+)`", PAGE))


def test_each_route_in_the_code_stands_on_the_page() -> None:
    core = ROOT / "lunos_core"
    files = [*(core / "endpoints").rglob("*.py"), core / "catalog" / "models.py"]
    named = {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"/[a-z]+(/[a-z]+)*", node.value)
    }
    assert {"/chat/completions", "/balance", "/video/generations"} <= named
    assert named <= ROUTES
    assert {probe.path for probe in PROBES} <= ROUTES


def test_each_parameter_of_the_servers_search_stands_on_the_page() -> None:
    assert all(f"`{name}`" in PAGE for name in WEB_SEARCH)


def test_the_report_on_the_page_fits_a_terminal() -> None:
    report = PAGE[PAGE.index("Lunos compatibility report") :].partition("```")[0]
    assert all(len(line) <= 80 for line in report.splitlines())
