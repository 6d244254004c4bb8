"""Remove the key from every text, however a server or proxy has spelled it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from html.entities import html5
from typing import Any, TypeVar
from urllib.parse import unquote

from lunos_core.errors import ErrorRequest, ErrorResponse, LunosError
from lunos_core.wire.text import decode, join_surrogates

STARS = "**********"
# values of other headers may be secret
_SHOWN = frozenset({"accept", "content-type", "user-agent", "x-app-id"})

T = TypeVar("T")

# A shorter key may be a part of other words, so only whole words count.
_SHORT = 8
# Nested encodings, such as percent-encoding in a JSON string in a JSON string.
_MOST_LAYERS = 5
_MOST_CHARACTERS = 2_000_000
# only complete ones: `&#\u0033…` waits until the other layer is decoded
_ENTITY = re.compile(r"&(?:#[0-9]{1,9}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([\"'/\\]))"
)


def scrub(text: str, secret: str | None) -> str:
    """Remove the key from a text, in any spelling of JSON, URLs, HTML, hex or base64.

    Args:
        text: a text from a server, a proxy or a library.
        secret: the key, or `None` if there is none.
    """
    if not secret or len(text) < len(secret):  # no spelling is shorter than the key itself
        return text
    pattern = _spellings(secret)
    text = pattern.sub(STARS, text)
    return STARS if any(pattern.search(form) for form in _decoded(text)) else text


def scrub_body(body: bytes, secret: str | None) -> bytes:
    """Remove the key from a body, which otherwise stays the same byte for byte."""
    text = decode(body)
    clean = scrub(text, secret)
    return body if clean == text else clean.encode()


def scrub_value(value: T, secret: str | None) -> T:
    """Remove the key from each text in a value, also in lists, tuples, dicts and dataclasses."""
    if not secret:
        return value
    clean: Any = _scrubbed(value, secret)
    return clean  # type: ignore[no-any-return]  # of the same type


def _scrubbed(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return scrub(value, secret)
    if isinstance(value, dict):
        return {_scrubbed(key, secret): _scrubbed(item, secret) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_scrubbed(item, secret) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value) if part.init}
        clean = {name: _scrubbed(part, secret) for name, part in parts.items()}
        return replace(value, **clean) if clean != parts else value
    return value


def scrub_error(error: LunosError, secret: str | None) -> None:
    """Remove the key from an error, its notes and the errors that caused it."""
    if not secret:
        return
    for name, value in vars(error).items():
        setattr(error, name, scrub_value(value, secret))
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current.args = tuple(scrub_value(argument, secret) for argument in current.args)
        notes = getattr(current, "__notes__", [])
        notes[:] = [scrub(note, secret) for note in notes]
        current = current.__cause__ or current.__context__


@lru_cache(16)
def _spellings(secret: str) -> re.Pattern[str]:
    key = "".join(_spelled(character) for character in secret)
    if len(secret) < _SHORT:
        others = [secret, f":{secret}", f"{secret}:", f"Bearer {secret}"]
        encoded = [re.escape(_base64(text)) + "={0,2}" for text in others]
        whole = "|".join([key, secret.encode().hex(), *encoded])
        # the letter of an escaped line break or tab is no part of a word
        before = r"(?:(?<![\w-])(?<!\w\.)|(?<=\\[bfnrt]))"
        return re.compile(rf"{before}(?:{whole})(?![\w-]|\.\w)", re.IGNORECASE)
    pairs = r"[\s:,-]?(?:0x)?".join(f"{byte:02x}" for byte in secret.encode())
    cores = "|".join(_base64_cores(secret))
    return re.compile(rf"{key}|{pairs}|(?:{cores})[\w+/=%\\-]*", re.IGNORECASE)


@lru_cache(256)
def _spelled(character: str) -> str:
    """Return the pattern of a character, unescaped or escaped for JSON, code, URLs and HTML."""
    # bounded and possessive: a million repetitions in a hostile answer are read once
    few = "{0,6}"
    code = f"{ord(character):x}"
    named = "".join(f"|{name.rstrip(';')}" for name in _ENTITIES.get(character, ()))
    escapes = (
        rf"\\{{1,16}}+(?:u00{code}|u\{{0{few}{code}\}}|u000000{code}|x{code}|{ord(character):o})"
        rf"|%(?:25){few}(?:u00)?{code}|={code}"
        rf"|&(?:amp;){few}(?:#0{few}{ord(character)}|#x0{few}{code}{named});?"
    )
    if character == "\\":
        return rf"(?:{escapes}|\\{{1,16}})"
    if character == " ":
        escapes += r"|\+"
    return rf"(?:\\{{0,16}}+{re.escape(character)}|{escapes})"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _base64_cores(secret: str) -> set[str]:
    """Return patterns for the key in base64, one for each alignment."""
    cores = set()
    for before in range(3):
        encoded = _base64("\0" * before + secret)
        # the first and last characters depend on the text beside the key
        core = encoded[(0, 2, 3)[before] : -1]
        cores.add(core.replace("+", r"(?:[+-]|%2b)").replace("/", r"(?:\\*+/|_|%2f)"))
    return cores


def _decoded(text: str) -> Iterator[str]:
    """Yield the forms of a text whose nested escapes are decoded, as a reader could do.

    The outermost layer is unknown, so every order is tried, within limits.
    """
    forms, seen, budget = [text], {text}, _MOST_CHARACTERS
    for _ in range(_MOST_LAYERS):
        inner = []
        for form in forms:
            for decode_layer in (_from_code, _from_url, _from_html):
                budget -= len(form)
                if budget < 0 and len(seen) > 2 * _MOST_LAYERS:
                    return
                simpler = decode_layer(form)
                if simpler not in seen:
                    seen.add(simpler)
                    inner.append(simpler)
                    yield simpler
        forms = inner


def _from_url(text: str) -> str:
    return unquote(text, errors="replace") if "%" in text else text


def _from_html(text: str) -> str:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text


def _from_code(text: str) -> str:
    return join_surrogates(_ESCAPE.sub(_unescaped, text)) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3] or match[4]
    if code is None:
        return str(match[5])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else match[0]


_ENTITIES: dict[str, list[str]] = {}
for _name, _text in html5.items():
    _ENTITIES.setdefault(_text, []).append(_name)


def add_facts(
    error: LunosError,
    *,
    method: str,
    url: str,
    sent: Mapping[str, str],
    status: int | None,
    received: Mapping[str, str],
    secret: str | None,
) -> None:
    """Add the facts of a call to an error, and remove the key from all its texts.

    Args:
        error: the error.
        method: the request's method.
        url: the request's URL, whose query is left out.
        sent: the request's headers.
        status: the answer's status, if an answer had begun.
        received: the answer's headers.
        secret: the key.
    """
    shown = {name: value if name in _SHOWN else STARS for name, value in sent.items()}
    error.request = ErrorRequest(method, url.partition("?")[0], shown)
    error.status = error.status or status
    error.request_id = error.request_id or received.get("x-request-id")
    if status is not None:
        response = error.response or ErrorResponse(status)
        error.response = replace(response, headers=response.headers or received)
    scrub_error(error, secret)
