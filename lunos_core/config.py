"""Where to send requests, as whom, and how patiently."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable
from urllib.parse import SplitResult, urlsplit, urlunsplit

from lunos_core._plain_http import warn_of_plain_http
from lunos_core._secret import Secret
from lunos_core.errors import LunosConfigError
from lunos_core.lazy import is_installed

DEFAULT_BASE_URL = "https://api.lunos.tech/v1"
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_RETRIES = 2
# Far above any answer of the wire (a picture is a few megabytes of base64), far below a machine's
# memory: what a broken or hostile server can make a call hold.
DEFAULT_MAX_RESPONSE_BYTES = 256 * 1024 * 1024
TRANSPORTS = ("httpx", "aiohttp")


@runtime_checkable
class TimeoutParts(Protocol):
    """What `httpx.Timeout` has; named here so that no signature needs httpx."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None


Timeout = float | TimeoutParts


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a client. Wrong ones raise here, before any request.

    Args:
        api_key: the key, or a function that gives it, called for each call (keys that change).
            It is in no `repr`. `None` is allowed for the public catalog alone.
        base_url: with or without `/v1` and a trailing slash.
        app_id: the application that calls are made for (`X-App-ID`); `None` sends no header.
        timeout: seconds for the connect and for each read, or an `httpx.Timeout`.
        max_retries: how often a failed request is made again (0: never).
        default_headers: sent with every request.
        total_timeout: seconds for the whole call with all its retries and waits, and for a stream
            to its end; `None` sets no such end.
        stream_idle_timeout: seconds that an open stream may go without an event; comments that
            keep the connection alive are none. The read timeout when `None`.
        retry_on_timeout: whether a request that was sent and not answered in time is made again.
            The model may still be at work on the first one: both may be paid for.
        max_response_bytes: the most that one answer may hold, decompressed.
        transport: what carries the async calls: "httpx", or "aiohttp" (the extra of that name),
            which takes less of the CPU where a hundred calls and more are under way at once. Sync
            calls go through httpx. Not for an HTTP client of your own, which has its transport.

    Raises:
        LunosConfigError: a base URL, key or number that cannot work.
        ValueError: an app id or header that cannot travel in an HTTP header.

    Warns:
        LunosPlainHTTPWarning: `http://` to another machine, once for each origin and process.

    Example:
        >>> Config(api_key="sk-1", base_url="https://api.lunos.tech/").base_url
        'https://api.lunos.tech/v1'
    """

    api_key: Secret | str | Callable[[], str] | None = None
    base_url: str = DEFAULT_BASE_URL
    app_id: str | None = None
    timeout: Timeout = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    total_timeout: float | None = None
    stream_idle_timeout: float | None = None
    retry_on_timeout: bool = False
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES
    transport: str = TRANSPORTS[0]

    def __post_init__(self) -> None:
        """Check and normalise once, so that the rest can trust the type."""
        put = object.__setattr__  # the way to write to a frozen dataclass from inside
        put(self, "api_key", check_api_key(self.api_key))
        put(self, "base_url", normalise_base_url(self.base_url))
        put(self, "app_id", check_app_id(self.app_id))
        put(self, "timeout", check_timeout(self.timeout))
        put(self, "default_headers", check_headers(self.default_headers))
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int):
            raise LunosConfigError(f"max_retries must be an int, not {self.max_retries!r}")
        if self.max_retries < 0:
            raise LunosConfigError(f"max_retries must be 0 or more, not {self.max_retries}")
        check_seconds("total_timeout", self.total_timeout)
        check_seconds("stream_idle_timeout", self.stream_idle_timeout)
        if not isinstance(self.retry_on_timeout, bool):
            raise LunosConfigError(
                f"retry_on_timeout must be True or False, not {self.retry_on_timeout!r}"
            )
        most = self.max_response_bytes
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise LunosConfigError(f"max_response_bytes must be a positive int, not {most!r}")
        check_transport(self.transport)
        if self.api_key is not None:  # the public catalog alone is asked without
            warn_of_plain_http(self.base_url)

    @classmethod
    def from_env(cls, **settings: Any) -> Config:
        """Settings from the environment; what is given here and is not `None` wins.

        `LUNOS_API_KEY`, `LUNOS_BASE_URL` and `LUNOS_APP_ID` are read; empty ones count as unset.
        """
        for name, variable in _ENVIRONMENT.items():
            if settings.get(name) is None:
                settings[name] = os.environ.get(variable) or None
        return cls(**{name: value for name, value in settings.items() if value is not None})

    @classmethod
    def from_fields(cls, owner: object, *, api_key: Any, base_url: str | None) -> Config:
        """As `from_env`, with the other settings read from an adapter's fields of the same names.

        Args:
            owner: the adapter's object.
            api_key: its key, as text or as a function.
            base_url: its base URL, whatever its field is called.
        """
        shared = {name: getattr(owner, name) for name in _shared_names()}
        return cls.from_env(api_key=api_key, base_url=base_url, **shared)

    @property
    def key(self) -> str:
        """The key as text.

        Raises:
            LunosConfigError: there is none.
        """
        key = self.api_key
        if callable(key):
            key = check_api_key(key())
        if not isinstance(key, Secret):
            raise LunosConfigError(MISSING_KEY)
        return key.reveal()

    @property
    def root_url(self) -> str:
        """The base URL without `/v1`: where the public catalog lives."""
        return self.base_url.removesuffix("/v1")


@functools.cache
def _shared_names() -> frozenset[str]:
    return frozenset(setting.name for setting in fields(Config)) - {"api_key", "base_url"}


_ENVIRONMENT = {"api_key": "LUNOS_API_KEY", "base_url": "LUNOS_BASE_URL", "app_id": "LUNOS_APP_ID"}

MISSING_KEY = (
    "no Lunos API key: pass api_key=... or set the environment variable LUNOS_API_KEY "
    "(to try without one, start the local gateway: python -m lunos_local)"
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_UNUSABLE_IN_URL = re.compile(r"[\x00-\x20\x7f]")
_HEADER_TEXT = re.compile(r"[\t -~]*")  # printable ASCII and tab


def check_api_key(
    key: Secret | str | Callable[[], str] | None,
) -> Secret | Callable[[], str] | None:
    """The key without surrounding white space (a pasted newline), or `None` for an empty one.

    A function is passed on; what it gives is checked when it is called.

    Raises:
        LunosConfigError: characters that no HTTP header carries. The text does not show the key.
    """
    if key is None or callable(key):
        return key
    text = key.reveal() if isinstance(key, Secret) else key
    if not isinstance(text, str):
        raise LunosConfigError(f"api_key must be a str, not {type(text).__name__}")
    text = text.strip()
    if not _HEADER_TEXT.fullmatch(text):
        raise LunosConfigError(
            "api_key holds a line break, a control character or a character outside ASCII: "
            "copy it again from the Lunos dashboard"
        )
    return Secret(text) if text else None


def check_transport(transport: str) -> None:
    """A transport that is known, and installed.

    Raises:
        LunosConfigError: it is not.
    """
    if transport not in TRANSPORTS:
        raise LunosConfigError(f"transport must be one of {TRANSPORTS}, not {transport!r}")
    if transport == "aiohttp" and not is_installed("httpx_aiohttp"):
        raise LunosConfigError(
            "transport='aiohttp' needs httpx-aiohttp, which is not installed: "
            'pip install "lunos-integrations[aiohttp]"'
        )


def check_app_id(app_id: str | None) -> str | None:
    """An app id that can travel as the header `X-App-ID`, or `None`.

    Raises:
        ValueError: it is empty, or holds control characters, line breaks or other characters than
            printable ASCII.
        TypeError: it is no `str`.
    """
    if app_id is None:
        return None
    if not isinstance(app_id, str):
        raise TypeError(f"app_id must be a str, not {type(app_id).__name__}")
    # not strip(): it would silently take a line break off the end
    text = app_id.strip(" ")
    if not text:
        raise ValueError("app_id is empty: leave it out to send no X-App-ID header")
    if "\t" in text or not _HEADER_TEXT.fullmatch(text):
        raise ValueError(
            f"app_id {app_id!r} cannot travel in the X-App-ID header: use printable ASCII without "
            "line breaks or control characters"
        )
    return text


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that can be sent as they are.

    Raises:
        ValueError: a name or value with line breaks or other characters that headers cannot hold.
            The text shows the name only: values may be secrets.
        TypeError: no mapping, or a name or value that is no `str`.
    """
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"header {name!r}: name and value must be str")
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for an HTTP header")
        if not _HEADER_TEXT.fullmatch(value):
            raise ValueError(
                f"the value of header {name!r} holds line breaks, control characters or characters "
                "outside ASCII"
            )
    # white space around a value is none of it (RFC 9110, 5.5), and a tab alone does not travel
    return {name: value.strip(" \t") for name, value in headers.items()}


def check_timeout(timeout: Timeout) -> Timeout:
    """A timeout that httpx can use.

    Raises:
        LunosConfigError: neither a positive number of seconds nor an `httpx.Timeout`.
    """
    if isinstance(timeout, int | float) and not isinstance(timeout, bool):
        if 0 < timeout <= threading.TIMEOUT_MAX:  # sockets overflow beyond it
            return timeout
    elif hasattr(timeout, "connect") and hasattr(timeout, "read"):
        return timeout
    raise LunosConfigError(
        f"timeout must be a positive number of seconds or an httpx.Timeout, not {timeout!r}"
    )


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse what is no positive number of seconds, nor `None`.

    Raises:
        LunosConfigError: it is not; the text has the setting's name.
    """
    if seconds is None:
        return
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise LunosConfigError(f"{name} must be a positive number of seconds, not {seconds!r}")


@functools.lru_cache(64)  # asked for every object that is made
def _usable_parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return parts if usable and not _UNUSABLE_IN_URL.search(url.strip()) else None
    except ValueError:
        return None


def normalise_base_url(url: str) -> str:
    """`url` with `/v1` at its end and no trailing slash.

    Raises:
        LunosConfigError: it is no http(s) URL, or carries a user, query or fragment.
    """
    parts = _usable_parts(url) if isinstance(url, str) else None
    if parts is None:
        raise LunosConfigError(
            f"base_url must look like {DEFAULT_BASE_URL!r}: http(s), a host, and maybe a path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise LunosConfigError(
            "base_url must hold no user, password, query or fragment: "
            "the key belongs into api_key, other headers into default_headers"
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/v1"):
        path += "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
