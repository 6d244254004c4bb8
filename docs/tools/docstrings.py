"""How docstrings are read for the API reference."""

from __future__ import annotations

import ast
import importlib
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Show a pydantic field by its description, and an example as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename `Example:` to griffe's `Examples:`; else it would become a quotation box."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Show the `description=` and `default` of a field, not the call itself."""
        value = attr.value
        if not isinstance(value, griffe.ExprCall):
            return
        if value.canonical_path.split(".")[-1] not in ("Field", "field"):
            return
        given = {
            argument.name: argument.value
            for argument in value.arguments
            if isinstance(argument, griffe.ExprKeyword)
        }
        if "description" in given:
            attr.docstring = griffe.Docstring(_text(given["description"], attr), parent=attr)
        attr.value = given.get("default")


def _text(description: Any, attr: griffe.Attribute) -> str:
    try:
        return str(ast.literal_eval(str(description)))
    except ValueError:  # an f-string, say: its text is the class's to tell
        assert attr.parent is not None
        owner = getattr(importlib.import_module(attr.module.canonical_path), attr.parent.name)
        return str(owner.model_fields[attr.name].description)
