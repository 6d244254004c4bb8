"""What LlamaIndex shows of the classes: names, and a description for each setting."""

from __future__ import annotations

import inspect

import pytest

import llama_index_lunos


@pytest.mark.parametrize("name", llama_index_lunos.__all__)
def test_public_names_are_documented(name: str) -> None:
    value = getattr(llama_index_lunos, name)
    assert inspect.getdoc(value)
    assert name in dir(llama_index_lunos)


def test_every_setting_is_described() -> None:
    for kind in (llama_index_lunos.Lunos, llama_index_lunos.LunosEmbedding):
        ours = [
            field
            for field in kind.model_fields
            if any(
                field in base.__annotations__
                for base in kind.__mro__
                if base.__module__.startswith("llama_index_lunos")
            )
        ]
        assert len(ours) > 10
        for field in ours:
            assert kind.model_fields[field].description, field
