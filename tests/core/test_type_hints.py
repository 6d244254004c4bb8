"""Type hints can be read at run time: frameworks do so with `typing.get_type_hints`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import lunos_core
import lunos_local


def functions() -> Iterator[Any]:
    for package in (lunos_core, lunos_local):
        for name in package.__all__:
            item = getattr(package, name)
            if inspect.isfunction(item) or inspect.isclass(item):
                yield pytest.param(item, id=name)
            if not inspect.isclass(item):
                continue
            for method, member in vars(item).items():
                function = member.fget if isinstance(member, property) else member
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function):
                    yield pytest.param(function, id=f"{name}.{method}")


@pytest.mark.parametrize("owner", [*functions()])
def test_every_public_name_has_type_hints_that_resolve(owner: Any) -> None:
    typing.get_type_hints(owner)
