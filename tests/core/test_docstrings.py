"""Every example in a docstring of the core runs, and does what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest

import lunos_core

if TYPE_CHECKING:
    from lunos_local import LocalGateway

MODULES = [
    "lunos_core",
    *(f"lunos_core.{m.name}" for m in pkgutil.iter_modules(lunos_core.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # an example need not close its client
def test_the_examples_of_a_module_are_true(name: str, gateway: LocalGateway) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"gateway": gateway})
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [
        t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples
    ]
    assert len(found) >= 8
    assert any(test.name.endswith("Lunos") for test in found)
