"""Generates values for a JSON schema, from a text if possible.

Integers are numbers in the text, strings are its quoted phrases, names or words, and enums are the
option that it mentions.
"""

from __future__ import annotations

import re
from typing import Any

from lunos_local.errors import WireError

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
# an apostrophe inside a word doesn't open a quote
_QUOTED = re.compile(
    r"(?<!\w)(?:'([^'\n]+?)'|\"([^\"\n]+?)\"|`([^`\n]+?)`)(?!\w)|[“«「]([^“«「”»」]+)[”»」]"
)
_NAME = re.compile(
    r"(?<=[a-z,] )[A-Z][\w'-]*(?:,? (?:[A-Z][\w'-]*|of|de|the)(?=[ ,.?!]|$))*", re.MULTILINE
)
_WORD = re.compile(r"[^\W\d_]{3,}")
_STOP_WORDS = frozenset(
    # words of two letters are ignored anyway
    re.findall(
        r"\w+",
        "the and for are was with that this from what which who how why when where does did you "
        "your can could would should please tell give use using call tool about into have has not "
        "any all its there then than them they their let make get",
    )
)
_FORMATS = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}
# properties that take the request itself
_ASKING = frozenset(
    ("query", "question", "q", "search_query", "search_term", "prompt", "input", "text")
)
_DEFAULT_NUMBER = 3
_MAX_DEPTH = 60
# a schema may contain itself: optional parts below this depth are left out
_DEEPEST = 6
# a small schema can describe an endless value: beyond these bounds it is refused
_MAX_STEPS = 20_000
_MAX_CHARACTERS = 1_000_000
_MAX_TEXT = 50_000


def quoted(text: str) -> list[str]:
    """Return the phrases in quotation marks or backticks at the end of `text`, in order."""
    return [next(filter(None, match)) for match in _QUOTED.findall(text[-_MAX_TEXT:])]


def content_words(text: str) -> list[str]:
    """Return the words other than stop words at the end of `text`, in lower case and in order."""
    words = _WORD.findall(text[-_MAX_TEXT:].lower())
    return [word for word in words if word not in _STOP_WORDS]


class Generator:
    """Generates values for a schema from a text, using each number and phrase once."""

    def __init__(self, text: str, root: dict[str, Any]) -> None:
        self._root = root
        self._steps = 0
        self._characters = 0
        text = text[-_MAX_TEXT:]
        self._text = text
        self._numbers = [float(match) for match in _NUMBER.findall(text)]
        self._phrases = quoted(text)
        self._names = [name.rstrip(" ,.") for name in _NAME.findall(text)]
        self._words = content_words(text)

    def value(self, schema: Any = None, key: str = "", depth: int = 0) -> Any:
        """Return a value that fits `schema`, by default the root."""
        schema = self._plain(self._root if schema is None else schema)
        if depth > _MAX_DEPTH:
            raise _too_large()
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._option(schema["enum"])
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, key, depth)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        return self._string(schema, key)

    def can_fill(self) -> bool:
        """Return whether the text has values for the required properties."""
        root = self._plain(self._root)
        properties, required = root.get("properties", {}), root.get("required", ())
        schemas = [self._plain(properties.get(name)) for name in required]
        kinds = [_kind(schema) for schema in schemas if not schema.get("enum")]
        numbers = kinds.count("integer") + kinds.count("number")
        words = self._phrases or self._names or _ASKING & set(required)
        return numbers <= len(self._numbers) and ("string" not in kinds or bool(words))

    def _plain(self, schema: Any) -> dict[str, Any]:
        for _ in range(32):  # a reference may point to itself
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise _too_large()
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema:
                schema = {**self._referenced(schema["$ref"]), **_without(schema, "$ref")}
            elif schema.get("allOf"):
                parts = [self._plain(part) for part in schema["allOf"]]
                schema = _merged([*parts, _without(schema, "allOf")])
            elif schema.get("anyOf") or schema.get("oneOf"):
                union = "anyOf" if schema.get("anyOf") else "oneOf"
                parts = [self._plain(part) for part in schema[union]]
                real = [part for part in parts if _kind(part) != "null"]
                schema = _merged([_without(schema, union), (real or parts)[0]])
            else:
                return schema
        return {}

    def _referenced(self, pointer: str) -> dict[str, Any]:
        target: Any = self._root
        for step in pointer.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        return target if isinstance(target, dict) else {}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        result = {}
        for name, child in properties.items():
            if name in required or (depth < _DEEPEST and self._mentions(name, child)):
                result[name] = self.value(child, name, depth + 1)
        for name in schema.get("required") or ():
            if name not in properties:
                result[name] = self._string({})
        return result

    def _mentions(self, name: str, schema: Any) -> bool:
        plain = self._plain(schema)
        if plain.get("enum"):
            return any(self._has(str(option)) for option in plain["enum"])
        return _kind(plain) not in ("object", "array", "null") and self._has(name.replace("_", " "))

    def _has(self, phrase: str) -> bool:
        whole = rf"(?<!\w){re.escape(phrase)}(?!\w)"
        return re.search(whole, self._text, re.IGNORECASE) is not None

    def _array(self, schema: dict[str, Any], key: str, depth: int) -> list[Any]:
        most = schema.get("maxItems")
        if schema.get("prefixItems"):
            return [self.value(item, key, depth + 1) for item in schema["prefixItems"]]
        least = int(schema.get("minItems") or 0)
        if most == 0 or (depth >= _DEEPEST and not least):
            return []
        items = schema.get("items") or {}
        length = max(1, least)
        kind = _kind(self._plain(items))
        if kind in ("integer", "number"):
            length = max(length, len(self._numbers))
        elif kind == "string" and not self._plain(items).get("enum"):
            length = max(length, len(self._phrases))
        if most is not None:
            length = min(length, int(most))
        return [self.value(items, key, depth + 1) for _ in range(length)]

    def _option(self, options: list[Any]) -> Any:
        return next((option for option in options if self._has(str(option))), options[0])

    def _number(self, schema: dict[str, Any], *, whole: bool) -> int | float:
        value = self._numbers.pop(0) if self._numbers else float(_DEFAULT_NUMBER)
        low, high = _bounds(schema, 1 if whole else 0.5)
        step = schema.get("multipleOf")
        if step:
            value = round(value / step) * step
            low = None if low is None else -(-low // step) * step
            high = None if high is None else high // step * step
        if low is not None:
            value = max(value, low)
        if high is not None:
            value = min(value, high)
        if whole or float(value).is_integer():
            return int(value)
        return value

    def _string(self, schema: dict[str, Any], key: str = "") -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if self._phrases:
            value = self._phrases.pop(0)
        elif key in _ASKING and self._text.strip():
            value = self._text.strip()
        elif self._names:
            value = self._names[0]
        else:
            value = self._words[-1] if self._words else "text"
        least, most = schema.get("minLength"), schema.get("maxLength")
        if least and len(value) < least:
            value = (value + "-") * (least // (len(value) + 1) + 1)
            value = value[:least]
        value = value if most is None else value[:most]
        self._characters += len(value)
        if self._characters > _MAX_CHARACTERS:
            raise _too_large()
        return value


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema or "prefixItems" in schema else "string"
    return str(kind)


def _without(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    return {name: item for name, item in schema.items() if name != keyword}


def _merged(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        properties = {**merged.get("properties", {}), **schema.get("properties", {})}
        required = [*merged.get("required", ()), *schema.get("required", ())]
        merged.update(schema)
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = list(dict.fromkeys(required))
    return merged


def _bounds(schema: dict[str, Any], step: float) -> tuple[float | None, float | None]:
    lows = [schema["minimum"]] if "minimum" in schema else []
    highs = [schema["maximum"]] if "maximum" in schema else []
    if "exclusiveMinimum" in schema:
        lows.append(schema["exclusiveMinimum"] + step)
    if "exclusiveMaximum" in schema:
        highs.append(schema["exclusiveMaximum"] - step)
    return (max(lows) if lows else None), (min(highs) if highs else None)


def generate(schema: dict[str, Any], text: str) -> Any:
    """Return a value that fits `schema`, generated from `text`.

    Raises:
        WireError: a 400, if the value would be too large.
    """
    try:
        return Generator(text, schema).value()
    except RecursionError:
        raise _too_large() from None


def _too_large() -> WireError:
    return WireError("A value for this JSON schema would be too large.", code="schema_too_large")
