"""The settings of a client: the server, the key, timeouts and limits."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Any, NamedTuple, Protocol, TypedDict, runtime_checkable
from urllib.parse import urlunsplit

from lunos_core import arguments
from lunos_core._plain_http import warn_of_plain_http
from lunos_core.arguments import HEADER_TEXT, check_app_id, check_headers, is_seconds
from lunos_core.errors import LunosConfigError
from lunos_core.lazy import is_installed

DEFAULT_BASE_URL = "https://api.lunos.tech/v1"
TRANSPORTS = ("httpx", "aiohttp")
_ENDPOINT = re.compile(r"(/v1(/chat)?(/completions|/embeddings)?|/chat/completions)?/*$")


class Secret:
    """Wraps a key; only `reveal()` returns it.

    Example:
        >>> from lunos_core import Secret
        >>> key = Secret("sk-123")
        >>> print(key, [key], key.reveal())
        ********** [Secret('**********')] sk-123
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key."""
        return self._text

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        # includes the key: an unpickled client must work
        return Secret, (self._text,)


@runtime_checkable
class TimeoutParts(Protocol):
    """The attributes of `httpx.Timeout`, so that signatures don't need httpx."""

    @property
    def connect(self) -> float | None: ...  # noqa: D102

    @property
    def read(self) -> float | None: ...  # noqa: D102

    @property
    def write(self) -> float | None: ...  # noqa: D102

    @property
    def pool(self) -> float | None: ...  # noqa: D102


class Timeouts(NamedTuple):
    """The four timeouts of a request, in seconds, in httpx's order; `None` means no limit."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None = None


Timeout = float | TimeoutParts
"""A checked timeout."""
TimeoutSetting = float | tuple[float | None, ...] | TimeoutParts
"""A timeout as users write it."""
ApiKey = Secret | str | Callable[[], str] | Callable[[], Awaitable[str]]

MISSING_KEY = (
    "no Lunos API key: pass api_key=... or set the environment variable LUNOS_API_KEY "
    "(to try it without a key, start the local gateway: python -m lunos_local)"
)

_ENVIRONMENT = {"api_key": "LUNOS_API_KEY", "base_url": "LUNOS_BASE_URL", "app_id": "LUNOS_APP_ID"}
_TRACING = "LUNOS_TRACING"
_FLAGS = {"1": True, "true": True, "on": True, "yes": True}
_FLAGS |= {"0": False, "false": False, "off": False, "no": False}


def check_api_key(key: ApiKey | None) -> ApiKey | None:
    """Return the key without surrounding white space (a pasted newline); `None` if it is empty.

    A function is returned unchanged; its result is checked at each call.

    Raises:
        LunosConfigError: the key has characters that no HTTP header can carry. The message doesn't
            show the key.
    """
    if key is None or callable(key):
        return key
    text = key.reveal() if isinstance(key, Secret) else key
    if not isinstance(text, str):
        raise LunosConfigError(f"api_key must be a str, not {type(text).__name__}")
    text = text.strip()
    if not HEADER_TEXT.fullmatch(text):
        raise LunosConfigError(
            "api_key contains a line break, a control character or a character outside ASCII: "
            "copy it again from the Lunos dashboard"
        )
    return Secret(text) if text else None


def check_timeout(timeout: TimeoutSetting) -> Timeout:
    """Return the timeout in seconds, or as an object with the attributes of `httpx.Timeout`.

    Args:
        timeout: seconds; `(connect, read)` or `(connect, read, write, pool)`, with `None` for no
            limit; or an `httpx.Timeout`. With two numbers, the second also limits writing.

    Raises:
        LunosConfigError: it is none of these, or a number isn't positive.
    """
    if isinstance(timeout, int | float):
        if is_seconds(timeout):
            return timeout
    elif isinstance(timeout, tuple | list):
        if len(timeout) in (2, 4) and all(part is None or is_seconds(part) for part in timeout):
            connect, read, *rest = timeout
            write, pool = rest or (read, None)
            return Timeouts(connect, read, write, pool)
    elif hasattr(timeout, "connect") and hasattr(timeout, "read"):
        return timeout
    raise LunosConfigError(
        "timeout must be a positive number of seconds, (connect, read), (connect, read, write, "
        f"pool) or an httpx.Timeout, not {timeout!r}"
    )


def _check_transport(name: str, transport: Any) -> None:
    if transport not in TRANSPORTS:
        raise LunosConfigError(f"{name} must be one of {TRANSPORTS}, not {transport!r}")
    if transport == "aiohttp" and not is_installed("httpx_aiohttp"):
        raise LunosConfigError(
            "transport='aiohttp' needs httpx-aiohttp, which is not installed: "
            'pip install "lunos-integrations[aiohttp]"'
        )


def _check(check: Callable[[str, Any], None]) -> dict[str, Any]:
    return {"check": check}


@dataclass(kw_only=True, init=False, repr=False, eq=False)
class ClientSettings:
    """The settings that clients and the classes of both adapters share.

    `Config` and the adapters' pydantic models inherit them: declare a new setting here, with its
    default and its check, and in `Settings` for type checkers.
    """

    app_id: str | None = None
    """The application that makes the calls (`X-App-ID`). Default: `LUNOS_APP_ID`."""
    timeout: TimeoutSetting = 60.0
    """Seconds for connecting and for each read (60), `(connect, read)`, `(connect, read, write,
    pool)`, or an `httpx.Timeout`."""
    max_retries: int = field(default=2, metadata=_check(arguments.check_count))
    """How often a failed request is retried (2); 0 sends exactly one request."""
    total_timeout: float | None = field(default=None, metadata=_check(arguments.check_seconds))
    """Seconds for the whole call with all its retries and waits, and for a stream until its end;
    by default without limit. Not bounded: the name lookup of a sync call and, with your own sync
    HTTP client, the time before the response headers on a connection that others opened."""
    stream_idle_timeout: float | None = field(
        default=None, metadata=_check(arguments.check_seconds)
    )
    """Seconds that an open stream may go without an event (keep-alive comments don't count).
    Default: the read timeout."""
    retry_on_timeout: bool = field(default=False, metadata=_check(arguments.check_flag))
    """Whether to retry a request that was sent and not answered in time. The model may still be
    working on the first one, so you may pay for both."""
    # far above any real answer, far below what would exhaust a machine's memory
    max_response_bytes: int = field(
        default=256 * 1024 * 1024, metadata=_check(arguments.check_size)
    )
    """The maximum size of one answer in bytes, decompressed (256 MiB)."""
    transport: str = field(default=TRANSPORTS[0], metadata=_check(_check_transport))
    """The HTTP library for async calls: "httpx", or "aiohttp" (needs the extra of that name), which
    takes less CPU with a hundred or more concurrent calls. Sync calls use httpx. An HTTP client of
    your own uses its own transport."""
    tracing: bool | None = field(default=None, metadata=_check(arguments.check_flag_or_none))
    """Whether each call makes its own OpenTelemetry span. Default: `LUNOS_TRACING`; if it is unset,
    the plain clients make spans once a tracer provider is set, and the adapters don't, because
    their frameworks' tracers record each call already."""


class Settings(TypedDict, total=False):
    """The keyword arguments of `Lunos` and `AsyncLunos`; `None` means "not given".

    A test compares it with the fields of `Config`.
    """

    base_url: str | None
    app_id: str | None
    timeout: TimeoutSetting | None
    max_retries: int | None
    total_timeout: float | None
    stream_idle_timeout: float | None
    retry_on_timeout: bool | None
    max_response_bytes: int | None
    transport: str | None
    tracing: bool | None
    default_headers: Mapping[str, str] | None


@dataclass
class Config(ClientSettings):
    """The settings of a client. Invalid ones raise here, before any request.

    The settings of `ClientSettings` (`app_id`, `timeout`, …) are keyword-only arguments.

    Args:
        api_key: the key, or a function that returns the current one at each call; async calls
            also take an async function. A `repr` never shows it. The public catalog needs none.
        base_url: with or without `/v1` and a trailing slash.
        default_headers: sent with every request.

    Raises:
        LunosConfigError: the base URL, the key or a number is invalid.
        ValueError: an app id or header contains characters that HTTP headers can't carry.

    Warns:
        LunosPlainHTTPWarning: `http://` to another machine, once per origin and process.

    Example:
        >>> from lunos_core import Config
        >>> Config(api_key="sk-1", base_url="https://api.lunos.tech/").base_url
        'https://api.lunos.tech/v1'
    """

    api_key: ApiKey | None = None
    base_url: str = DEFAULT_BASE_URL
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.api_key = check_api_key(self.api_key)
        self.base_url = normalise_base_url(self.base_url)
        self.app_id = check_app_id(self.app_id)
        self.timeout = check_timeout(self.timeout)
        self.default_headers = check_headers(self.default_headers)
        for name, check in _CHECKS.items():
            check(name, getattr(self, name))
        if self.api_key is not None:  # the public catalog needs none
            warn_of_plain_http(self.base_url)
        self._checked = True

    def __setattr__(self, name: str, value: Any) -> None:
        # not `frozen=True`: the adapters' models inherit these settings, and theirs may change
        if "_checked" in self.__dict__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}: clients share a Config")
        super().__setattr__(name, value)

    @classmethod
    def from_env(cls, **settings: Any) -> Config:
        """Make a config from the given settings and, for those that are `None`, the environment.

        `LUNOS_API_KEY`, `LUNOS_BASE_URL`, `LUNOS_APP_ID` and `LUNOS_TRACING` are read; empty ones
        count as unset. Other settings that are `None` keep their defaults.

        Raises:
            TypeError: there is no setting of that name.
            LunosConfigError: a setting or a variable has an invalid value.
        """
        for name in settings:
            if name not in SETTING_NAMES:
                raise arguments.unknown_argument("Lunos", name, SETTING_NAMES)
        for name, variable in _ENVIRONMENT.items():
            if settings.get(name) is None:
                settings[name] = os.environ.get(variable) or None
        if settings.get("tracing") is None:
            settings["tracing"] = _tracing_from_env()
        return cls(**{name: value for name, value in settings.items() if value is not None})

    @classmethod
    def from_fields(cls, owner: ClientSettings, **own: Any) -> Config:
        """Make a config from an adapter's object, which has the shared settings as fields.

        Args:
            owner: the adapter's object.
            **own: the settings that the adapter keeps in another form (`api_key`, `base_url`,
                `default_headers`).
        """
        shared = {name: getattr(owner, name) for name in SHARED_NAMES}
        return cls.from_env(**shared, **own)

    @property
    def key(self) -> str:
        """The key as text.

        Raises:
            LunosConfigError: there is no key, or it comes from an async function.
        """
        key = self.api_key
        if isinstance(key, Secret):
            return key.reveal()
        if callable(key):
            result = key()
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()  # else Python warns that it was never awaited
                raise LunosConfigError(
                    "api_key is an async function, which only async calls can await: use the "
                    "async methods, or pass a function that returns the key"
                )
            key = result
        return _key_text(key)

    @property
    def known_key(self) -> str | None:
        """The key as text, or `None` if only a function can give it."""
        return self.api_key.reveal() if isinstance(self.api_key, Secret) else None

    async def aget_key(self) -> Secret:
        """Return the key for async calls: an async function is awaited.

        As a `Secret`, because debuggers and error trackers show local variables.

        Raises:
            LunosConfigError: there is no key.
        """
        key = self.api_key
        if callable(key):
            result = key()
            key = await result if inspect.isawaitable(result) else result
        return Secret(_key_text(key))

    @property
    def checked_timeout(self) -> Timeout:
        """`timeout`, in the transport's form."""
        checked: Any = self.timeout
        return checked  # type: ignore[no-any-return]  # when the config was made

    @property
    def root_url(self) -> str:
        """The base URL without `/v1`, for the public catalog."""
        return self.base_url.removesuffix("/v1")


SHARED_NAMES = tuple(setting.name for setting in fields(ClientSettings))
_CHECKS = {item.name: item.metadata["check"] for item in fields(Config) if item.metadata}
SETTING_NAMES = frozenset(setting.name for setting in fields(Config))


def _tracing_from_env() -> bool | None:
    if not (text := os.environ.get(_TRACING, "").strip().lower()):
        return None
    if text not in _FLAGS:
        raise LunosConfigError(f"{_TRACING} must be one of {', '.join(_FLAGS)}, not {text!r}")
    return _FLAGS[text]


def _key_text(key: Any) -> str:
    if isinstance(key, Secret) or isinstance(key := check_api_key(key), Secret):
        return key.reveal()
    raise LunosConfigError(MISSING_KEY)


def normalise_base_url(url: str) -> str:
    """Return `url` with `/v1` at its end, no trailing slash and no endpoint.

    Raises:
        LunosConfigError: it isn't an http(s) URL, or has a user, query or fragment.
    """
    parts = arguments.usable_url_parts(url) if isinstance(url, str) else None
    if parts is None:
        raise LunosConfigError(
            f"base_url must look like {DEFAULT_BASE_URL!r}: http(s), a host, and maybe a path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise LunosConfigError(
            "base_url must have no user, password, query or fragment: "
            "pass the key as api_key, other headers as default_headers"
        )
    path = _ENDPOINT.sub("", parts.path) + "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
