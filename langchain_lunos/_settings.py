"""What every class of this adapter has: where to send, as whom, how patiently."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from langchain_lunos.errors import LANGCHAIN_ERRORS
from lunos_core.config import MISSING_KEY, Config, Timeout
from lunos_core.errors import LunosConfigError

if TYPE_CHECKING:
    from lunos_core.transport.client import AsyncClient, Client


class LunosConnection(BaseModel):
    """The connection fields, and the clients that are made from them at first use."""

    # inputs are hidden: pydantic's messages would print the key
    model_config = ConfigDict(hide_input_in_errors=True, arbitrary_types_allowed=True)

    api_key: SecretStr | Callable[[], str] | str | None = None
    """The key, or a function that gives it (asked for each call); `LUNOS_API_KEY` when not
    given. In no `repr`, dump, trace or log."""
    base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("base_url", "api_base")
    )
    """With or without `/v1`; `LUNOS_BASE_URL`, else the public service."""
    app_id: str | None = None
    """The application that calls are made for (`X-App-ID`); `LUNOS_APP_ID` when not given."""
    timeout: Timeout | None = Field(
        default=None, validation_alias=AliasChoices("timeout", "request_timeout")
    )
    """Seconds for the connect and for each read (default 60), or an `httpx.Timeout`."""
    max_retries: int = 2
    """How often a failed request is made again; 0 makes exactly one request."""
    total_timeout: float | None = None
    """Seconds for the whole call with all its retries and waits, and for a stream to its end; no
    such end when not given."""
    stream_idle_timeout: float | None = None
    """Seconds that an open stream may go without an event (comments that keep the connection alive
    are none); the read timeout when not given."""
    retry_on_timeout: bool = False
    """Whether a request that was sent and not answered in time is made again. The model may still
    be at work on the first one: both may be paid for."""
    max_response_bytes: int | None = None
    """The most that one answer may hold, decompressed; 256 MiB when not given."""
    transport: Literal["httpx", "aiohttp"] = "httpx"
    """What carries the async calls; "aiohttp" (the extra of that name) takes less of the CPU where
    a hundred calls and more are under way at once. Sync calls go through httpx."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Sent with every request. Not serialized: they may hold secrets."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` of your own, for the sync methods."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` of your own, for the async methods, on one event loop."""

    catalog: Any = Field(default=None, exclude=True, repr=False)
    """A `lunos_core.Catalog` (or `AsyncCatalog`): the cost of answers that name none, the model's
    profile, and the refusal of what cannot work, as far as it has been fetched."""

    _config: Config = PrivateAttr()
    _sync: Any = PrivateAttr(default=None)
    _async: Any = PrivateAttr(default=None)

    @field_validator("api_key", mode="after")
    @classmethod
    def _hide_key(
        cls, key: SecretStr | Callable[[], str] | str | None
    ) -> SecretStr | Callable[[], str] | None:
        # declared as either, so that a type checker lets plain text in; kept as a secret
        return SecretStr(key) if isinstance(key, str) else key

    @model_validator(mode="before")
    @classmethod
    def _read_environment(cls, values: Any) -> Any:
        """Fill in what the environment says and the caller did not."""
        if isinstance(values, dict):
            _check_names(cls, values)
            for field, spellings in _ENVIRONMENT.items():
                variable, *names = spellings
                if all(values.get(name) is None for name in (field, *names)):
                    found = os.environ.get(variable)
                    if found:
                        values = {**values, field: found}
        return values

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Check once what every request needs, so that nothing is found out by sending it.

        Here and not in a validator, so that the error comes as it is and not as pydantic's.

        Raises:
            LunosConfigError: no key, a base URL, timeout or number of retries that cannot work.
            ValueError: an app id or header that cannot travel.
        """
        super().__init__(*args, **kwargs)
        self._configure()

    def _configure(self) -> None:
        """Take over the fields as they are; clients that were made from older ones are left."""
        check_catalog(self.catalog)
        if self._sync is not None or self._async is not None:  # not so in a constructor
            self._sync = self._async = None
        self._config = Config.from_fields(self, api_key=self._plain_key(), base_url=self.base_url)
        if self._config.api_key is None:
            raise LunosConfigError(MISSING_KEY)
        if self.http_client is not None:
            _ = self.client  # checks what it is given, while it can be said where it came from
        if self.http_async_client is not None:
            _ = self.async_client

    def _plain_key(self) -> str | Callable[[], str] | None:
        key = self.api_key
        return key.get_secret_value() if isinstance(key, SecretStr) else key

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; one of the connection's holds from the next call on."""
        if name == "api_key" and isinstance(value, str):
            value = SecretStr(value)
        if name not in LunosConnection.model_fields:
            super().__setattr__(name, value)
            return
        before = getattr(self, name, None)
        super().__setattr__(name, value)
        try:
            self._configure()
        except (TypeError, ValueError):  # a value that is refused is not kept
            super().__setattr__(name, before)
            self._configure()
            raise

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the copy sends with what `update` says."""
        key = (update or {}).get("api_key")
        if isinstance(key, str):
            update = {**(update or {}), "api_key": SecretStr(key)}
        copied = super().model_copy(update=update, deep=deep)
        if not LunosConnection.model_fields.keys().isdisjoint(update or ()):
            copied._configure()
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy of the settings; what holds connections or counts requests is shared."""
        memo = {} if memo is None else memo
        for name in ("http_client", "http_async_client", "rate_limiter"):
            shared = getattr(self, name, None)
            if shared is not None:
                memo[id(shared)] = shared
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """What a pickle holds: the settings, the key among them.

        Raises:
            TypeError: an HTTP client of the user's own, which cannot travel.
        """
        for name in ("http_client", "http_async_client"):
            if getattr(self, name) is not None:
                raise TypeError(
                    f"{type(self).__name__} cannot be pickled with {name}=: connections cannot "
                    "travel to another process; make the client there"
                )
        return super().__getstate__()

    def model_post_init(self, context: Any, /) -> None:
        """Hand on: pydantic's own for private attributes would end the chain to LangChain's."""
        super().model_post_init(context)

    @property
    def client(self) -> Client:
        """The sync client, made at first use."""
        # one look: each at a private attribute of a pydantic object takes a microsecond
        client: Client | None = self._sync
        if client is None:
            from lunos_core.transport.client import Client

            client = self._sync = Client(
                self._config,
                http_client=self.http_client,
                errors=LANGCHAIN_ERRORS,
                prices=None if self.catalog is None else self.catalog.cached,
            )
        return client

    @property
    def async_client(self) -> AsyncClient:
        """The async client, made at first use; it serves any event loop."""
        # one look: each at a private attribute of a pydantic object takes a microsecond
        client: AsyncClient | None = self._async
        if client is None:
            from lunos_core.transport.client import AsyncClient

            client = self._async = AsyncClient(
                self._config,
                http_client=self.http_async_client,
                errors=LANGCHAIN_ERRORS,
                prices=None if self.catalog is None else self.catalog.cached,
            )
        return client


def check_call(kwargs: Mapping[str, Any]) -> None:
    """Refuse settings of the constructor in one call's arguments: they would go into the body.

    Raises:
        TypeError: one of them; the text says what to use. It shows no value: it may be the key.
    """
    if not isinstance(kwargs.get("model_kwargs") or {}, Mapping):
        raise TypeError("model_kwargs must be a dict")
    for name in kwargs:
        if name in _NOT_FOR_ONE_CALL:
            raise TypeError(f"{name!r} is no argument of a single call: {_NOT_FOR_ONE_CALL[name]}")


def _check_names(cls: type[BaseModel], values: Mapping[str, Any]) -> None:
    """Refuse arguments that are not known: a typo would else be dropped in silence."""
    known = _known_names(cls)
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise TypeError(
                f"{cls.__name__} knows no argument {name!r}: {hint}What the wire has and this "
                "class has not goes into model_kwargs or extra_body"
            )


@functools.cache  # 20 µs for each object that is made
def _known_names(cls: type[BaseModel]) -> frozenset[str]:
    known = set(cls.model_fields)
    for field in cls.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known |= {str(choice) for choice in field.validation_alias.choices}
        elif field.alias:
            known.add(field.alias)
    return frozenset(known)


def check_catalog(catalog: Any) -> None:
    """Refuse what is no catalog, when it is given and not with the first call.

    Raises:
        TypeError: it is something else.
    """
    if catalog is not None and not callable(getattr(catalog, "cached", None)):
        raise TypeError(
            f"catalog must be a lunos_core.Catalog (such as Lunos().models), not "
            f"{type(catalog).__name__}"
        )


_OF_THE_CONSTRUCTOR = "give it to the constructor"
_NOT_FOR_ONE_CALL = {
    "api_key": _OF_THE_CONSTRUCTOR,
    "base_url": _OF_THE_CONSTRUCTOR,
    "api_base": _OF_THE_CONSTRUCTOR,
    "max_retries": _OF_THE_CONSTRUCTOR,
    "catalog": _OF_THE_CONSTRUCTOR,
    "preflight": _OF_THE_CONSTRUCTOR,
    "total_timeout": _OF_THE_CONSTRUCTOR,
    "stream_idle_timeout": _OF_THE_CONSTRUCTOR,
    "retry_on_timeout": _OF_THE_CONSTRUCTOR,
    "max_response_bytes": _OF_THE_CONSTRUCTOR,
    "transport": _OF_THE_CONSTRUCTOR,
    "http_client": _OF_THE_CONSTRUCTOR,
    "http_async_client": _OF_THE_CONSTRUCTOR,
    "default_headers": "use extra_headers",
    "model_name": "use model",
    "stop_sequences": "use stop",
    "request_timeout": "use timeout",
    "streaming": "use stream() or stream=True",
}

_ENVIRONMENT = {
    "api_key": ("LUNOS_API_KEY",),
    "base_url": ("LUNOS_BASE_URL", "api_base"),
    "app_id": ("LUNOS_APP_ID",),
}
