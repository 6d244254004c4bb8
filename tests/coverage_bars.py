"""Fail a run with `--cov` in which a package is covered less than its minimum; show each figure.

pytest-cov has one minimum for all packages, and pytest's summary has to be the last line, so no
command can follow it.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import Any

import pytest

BARS = {"lunos_core": 98.0, "langchain_lunos": 95.0, "llama_index_lunos": 95.0}
_FOUND = pytest.StashKey[dict[str, float]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Run after pytest-cov, whose own wrapper is inside this one."""
    result = yield
    plugin = session.config.pluginmanager.get_plugin("_cov")
    controller = getattr(plugin, "cov_controller", None)
    if controller is None or hasattr(session.config, "workerinput"):  # one of pytest-xdist's
        return result
    root = session.config.rootpath
    results = session.config.stash[_FOUND] = {
        package: controller.cov.report(file=io.StringIO(), include=[f"{root / package}/*"])
        for package in BARS
    }
    session.testsfailed += sum(results[package] < bar for package, bar in BARS.items())
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the figures, whether or not they reach the minimum."""
    for package, percent in config.stash.get(_FOUND, {}).items():
        word = "covers" if percent >= BARS[package] else "ERROR: covers only"
        terminalreporter.write_line(
            f"the suite {word} {percent:.2f} % of {package}, branches included "
            f"(at least {BARS[package]:g} %)"
        )
