"""Checks of arguments: header text, numbers, and suggestions for misspelt names."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lunos_core.errors import LunosConfigError

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_UNUSABLE_IN_URL = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
HEADER_TEXT = re.compile(r"[\t -~]*")  # printable ASCII and tab


def check_app_id(app_id: str | None) -> str | None:
    """Return an app id that can be sent as the header `X-App-ID`, or `None`.

    Raises:
        ValueError: it is empty, or contains anything but printable ASCII.
        TypeError: it isn't a `str`.
    """
    if app_id is None:
        return None
    if not isinstance(app_id, str):
        raise TypeError(f"app_id must be a str, not {type(app_id).__name__}")
    # not strip(): it would silently remove a trailing line break
    text = app_id.strip(" ")
    if not text:
        raise ValueError("app_id is empty: leave it out to send no X-App-ID header")
    if "\t" in text or not HEADER_TEXT.fullmatch(text):
        raise ValueError(
            f"app_id {app_id!r} cannot travel in the X-App-ID header: use printable ASCII without "
            "line breaks or control characters"
        )
    return text


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers, checked and ready to send.

    Raises:
        ValueError: a name or value has line breaks or other characters that headers cannot carry.
            The message shows only the name: values may be secrets.
        TypeError: it isn't a mapping, or a name or value isn't a `str`.
    """
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"header {name!r}: name and value must be str")
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} isn't a valid name for an HTTP header")
        if not HEADER_TEXT.fullmatch(value):
            raise ValueError(
                f"the value of header {name!r} contains line breaks, control characters or "
                "characters outside ASCII"
            )
    # white space around a value isn't part of it (RFC 9110, 5.5)
    return {name: value.strip(" \t") for name, value in headers.items()}


def is_seconds(value: Any) -> bool:
    """Return whether a value is a valid timeout."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= threading.TIMEOUT_MAX  # sockets overflow beyond it


def check_seconds(name: str, seconds: Any) -> None:
    """Refuse what isn't a positive number of seconds, or `None`."""
    if seconds is not None and not is_seconds(seconds):
        raise LunosConfigError(f"{name} must be a positive number of seconds, not {seconds!r}")


def check_count(name: str, count: Any) -> None:
    """Refuse what isn't an int of 0 or more."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise LunosConfigError(f"{name} must be an int, not {count!r}")
    if count < 0:
        raise LunosConfigError(f"{name} must be 0 or more, not {count}")


def check_size(name: str, size: Any) -> None:
    """Refuse what isn't a positive int."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise LunosConfigError(f"{name} must be a positive int, not {size!r}")


def check_flag(name: str, flag: Any) -> None:
    """Refuse what isn't True or False."""
    if not isinstance(flag, bool):
        raise LunosConfigError(f"{name} must be True or False, not {flag!r}")


def check_flag_or_none(name: str, flag: Any) -> None:
    """Refuse what isn't True, False or `None`."""
    if flag is not None:
        check_flag(name, flag)


@lru_cache(64)  # called for every new object
def usable_url_parts(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL; `None` if no request can be sent to it."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return parts if usable and not _UNUSABLE_IN_URL.search(url.strip()) else None
    except ValueError:
        return None


def unknown_argument(owner: str, name: str, known: Iterable[str], remedy: str = "") -> TypeError:
    """Return the error for an argument that `owner` doesn't have.

    Args:
        owner: the class.
        name: the argument.
        known: the class's arguments.
        remedy: a sentence about what else the caller can do.
    """
    close = closest_name(name, known)
    hint = f": did you mean {close!r}?" if close else ""
    text = f"{owner} has no argument {name!r}{hint}"
    if remedy:
        text += f" {remedy}" if hint else f": {remedy}"
    return TypeError(text)


@lru_cache(256)
def meant_name(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known name that a call's `name` must be a misspelling of, or `None`.

    Servers have parameters that aren't listed here, some with similar names ("min_tokens"), so
    this is stricter than `closest_name`.

    Example:
        >>> from lunos_core.arguments import meant_name
        >>> meant_name("temprature", ("temperature",)), meant_name("min_tokens", ("max_tokens",))
        ('temperature', None)
    """
    if name in _NOT_SENT:
        return _NOT_SENT[name]
    plain = name.lower().replace("-", "_")
    close = closest_name(plain, known)
    return close if close and _closeness([plain], [close]) > 0.9 else None


_NOT_SENT = {"headers": "extra_headers", "model_name": "model", "batch_size": "chunk_size"}

# what other packages, and the other adapter, call a setting; `None`: it has no name here
_OTHER_NAMES = {
    "verbose": None,
    "extra_headers": "default_headers",
    "default_query": "extra_query",
    "openai_api_key": "api_key",
    "openai_api_base": "base_url",
    "endpoint": "base_url",
    "model_id": "model",
    "request_timeout": "timeout",
    "max_completion_tokens": "max_tokens",
    "batch_size": "chunk_size",
    "http_async_client": "async_http_client",
    "additional_kwargs": "model_kwargs",
    "model_kwargs": "additional_kwargs",
}


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is probably a misspelling of, or `None`.

    A wrong hint is worse than none, so the whole name must be close and its short words equal:
    "top_k" isn't a misspelling of "top_p".

    Example:
        >>> from lunos_core.arguments import closest_name
        >>> closest_name("max_retry", ["model", "max_retries"]), closest_name("order", ["model"])
        ('max_retries', None)
    """
    known = set(known)
    other = _OTHER_NAMES.get(name, name)
    if other is None or other in known:
        return other
    words = name.lower().split("_")
    scores = {candidate: _closeness(words, candidate.split("_")) for candidate in known}
    best = max(scores.values(), default=0.0)
    nearest = [candidate for candidate, score in scores.items() if score == best > 0]
    return nearest[0] if len(nearest) == 1 else None


def _closeness(given: list[str], known: list[str]) -> float:
    if sorted("".join(given)) == sorted("".join(known)):
        return 1.0  # letters swapped, or an underscore moved
    enough = 0.75
    if len(given) != len(known):
        if set(given) < set(known) and 2 * len(given) >= len(known):
            return enough  # "retries" for "max_retries"
        enough = 0.85
    elif any(a != b for a, b in zip(given, known, strict=True) if min(len(a), len(b)) <= 2):
        return 0.0
    if given[0][:1] != known[0][:1]:  # "streaming" isn't a misspelling of "tracing"
        return 0.0

    from difflib import SequenceMatcher  # 3 ms: only after a mistake

    ratio = SequenceMatcher(None, "".join(given), "".join(known)).ratio()
    return ratio if ratio >= enough else 0.0
