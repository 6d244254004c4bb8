"""Type hints can be read at run time, as workflow and agent frameworks do."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

import llama_index_lunos


def public_methods() -> list[Any]:
    """Every public method and property that this package defines."""
    methods: dict[str, Any] = {}
    for name in llama_index_lunos.__all__:
        owner = getattr(llama_index_lunos, name)
        for member in dir(owner):
            method = inspect.getattr_static(owner, member, None)
            method = getattr(method, "fget", None) or getattr(method, "__func__", method)
            if member.startswith("_") or not inspect.isfunction(method):
                continue
            # LlamaIndex's own methods aren't ours to mend
            if inspect.unwrap(method).__module__.startswith("llama_index_lunos"):
                methods[f"{name}.{member}"] = method
    return [pytest.param(method, id=name) for name, method in methods.items()]


@pytest.mark.parametrize("method", public_methods())
def test_the_type_hints_of_every_public_method_resolve(method: Any) -> None:
    typing.get_type_hints(method)
