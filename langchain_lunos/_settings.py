"""The client settings that every class of this adapter has, and the clients made from them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from langchain_core.runnables.config import ensure_config, var_child_runnable_config
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
from lunos_core.adapters import ClientPair, check_loaded_address, check_names
from lunos_core.config import MISSING_KEY, SHARED_NAMES, ClientSettings, Config
from lunos_core.errors import LunosConfigError

if TYPE_CHECKING:
    from lunos_core.transport.client import AsyncClient, Client
else:  # so that type hints can be read at run time without loading httpx
    AsyncClient = Client = Any


class LunosConnection(BaseModel, ClientSettings):
    """The client's settings, and the clients, which are made from them on first use."""

    # inputs are hidden: pydantic's messages would print the key; no object of this class is made
    model_config = ConfigDict(
        hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )

    api_key: SecretStr | Callable[[], str] | Callable[[], Awaitable[str]] | str | None = None
    """The key, or a function that returns it (called for each call; async calls accept an async
    function). Default: `LUNOS_API_KEY`. It appears in no `repr`, dump, trace or log."""
    base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("base_url", "api_base")
    )
    """With or without `/v1`. Default: `LUNOS_BASE_URL`, else the public service."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Sent with every request. Not serialized: they may hold secrets."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` of your own, for the sync methods."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` of your own, for the async methods, on one event loop."""

    catalog: Any = Field(default=None, exclude=True, repr=False)
    """A `lunos_core.Catalog` (or `AsyncCatalog`). Once it has been fetched, it supplies the model's
    profile and the cost of answers that have none, and refuses requests that cannot work."""

    _clients: ClientPair = PrivateAttr()

    @field_validator("api_key", mode="after")
    @classmethod
    def _hide_key(cls, key: Any) -> Any:
        # `str` is in the annotation so that type checkers accept it; the value is kept as a secret
        return SecretStr(key) if isinstance(key, str) else key

    @model_validator(mode="before")
    @classmethod
    def _read_environment(cls, values: Any) -> Any:
        """Fill in missing settings from the environment; `None` counts as missing."""
        if not isinstance(values, dict):
            return values
        check_names(cls, values, _known_names(cls))
        # not an alias: pydantic loses it in subclasses, as `ClientSettings` isn't a model
        if values.get("timeout") is None:
            values = {**values, "timeout": values.get("request_timeout")}
        values = {
            name: value
            for name, value in values.items()
            if name != "request_timeout" and (value is not None or name not in SHARED_NAMES)
        }
        for field, (variable, *names) in _ENVIRONMENT.items():
            if all(values.get(name) is None for name in (field, *names)):
                value = os.environ.get(variable)
                if value:
                    values[field] = value
        return values

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Check the settings once, before any request.

        A validator would wrap the errors in pydantic's.

        Raises:
            LunosConfigError: no key, or a base URL, timeout or number of retries that cannot work.
            ValueError: an app id or header that cannot be sent.
        """
        if _is_loaded(self):
            base_url = kwargs.get("base_url") or kwargs.get("api_base")
            check_loaded_address(base_url, kwargs.get("api_key"))
        super().__init__(*args, **kwargs)
        self._configure()

    def _configure(self) -> None:
        """Make clients from the current fields; copies keep the clients that they have."""
        key = self.api_key
        config = Config.from_fields(
            self,
            api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
            base_url=self.base_url,
            default_headers=self.default_headers,
        )
        if config.api_key is None:
            raise LunosConfigError(MISSING_KEY)
        self._clients = ClientPair(
            config,
            errors=LANGCHAIN_ERRORS,
            catalog=self.catalog,
            http_client=self.http_client,
            async_http_client=self.http_async_client,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; connection settings take effect with the next call."""
        if name == "api_key" and isinstance(value, str):
            value = SecretStr(value)
        if name not in LunosConnection.model_fields:
            super().__setattr__(name, value)
            return
        before = getattr(self, name, None)
        super().__setattr__(name, value)
        try:
            self._configure()
        except (TypeError, ValueError):  # a refused value isn't kept
            super().__setattr__(name, before)
            self._configure()
            raise

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the copy uses the connection settings in `update`."""
        key = (update or {}).get("api_key")
        if isinstance(key, str):
            update = {**(update or {}), "api_key": SecretStr(key)}
        copied = super().model_copy(update=update, deep=deep)
        if not LunosConnection.model_fields.keys().isdisjoint(update or ()):
            copied._configure()
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for name in ("http_client", "http_async_client", "rate_limiter"):
            shared = getattr(self, name, None)
            if shared is not None:
                memo[id(shared)] = shared
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """Return what is pickled: the settings, including the key.

        Raises:
            TypeError: a user's own HTTP client cannot be pickled.
        """
        for name in ("http_client", "http_async_client"):
            if getattr(self, name) is not None:
                raise TypeError(
                    f"{type(self).__name__} cannot be pickled with {name}=: connections cannot "
                    "travel to another process; make the client there"
                )
        return super().__getstate__()

    def model_post_init(self, context: Any, /) -> None:
        """Call the next class: pydantic's hook for private attributes would skip LangChain's."""
        super().model_post_init(context)

    @property
    def client(self) -> Client:
        """The sync client, made when it is first used."""
        return self._clients.sync

    @property
    def async_client(self) -> AsyncClient:
        """The async client, made when it is first used; it serves any event loop."""
        return self._clients.asynchronous


# LangChain would import these in its first call: a fork during it would hang the child
for _name in (
    *("env", "tracers.context", "tracers.langchain", "tracers.stdout"),
    "messages.block_translators.langchain_v0",
):
    with contextlib.suppress(ImportError):  # not in every version
        importlib.import_module(f"langchain_core.{_name}")


def _after_fork() -> None:
    """Replace the locks of Python 3.11's `cached_property`: the parent's threads may hold them."""
    kinds: list[type] = [LunosConnection]
    for kind in kinds:
        kinds += kind.__subclasses__()
        for item in [item for base in kind.__mro__ for item in vars(base).values()]:
            if isinstance(item, functools.cached_property) and hasattr(item, "lock"):
                vars(item)["lock"] = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _is_loaded(made: object) -> bool:
    """Return whether LangChain's `load` (or a LangGraph checkpoint) calls the constructor.

    They offer no hook: they call the class that the data names. A key that the caller of `load`
    passed in `secrets_map` is intended.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_locals.get("self") is made:  # constructors of subclasses
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") not in _LOADERS:
        return False
    secrets = getattr(frame.f_locals.get("self"), "secrets_map", None) or {}
    return "LUNOS_API_KEY" not in secrets


def check_call(kwargs: Mapping[str, Any]) -> None:
    """Refuse constructor arguments in a call: they would be sent in the request body.

    The function that builds the body refuses the client's own settings.

    Raises:
        TypeError: the message says what to use instead. It shows no value, which may be the key.
    """
    if not isinstance(kwargs.get("model_kwargs") or {}, Mapping):
        raise TypeError("model_kwargs must be a dict")
    for name, remedy in _INSTEAD.items():
        if name in kwargs:
            raise TypeError(
                f"{name!r} is an argument of the constructor, not of a single call: {remedy}"
            )


@functools.cache  # 20 µs for each new object
def _known_names(cls: type[BaseModel]) -> frozenset[str]:
    known = {"request_timeout", *cls.model_fields}
    for field in cls.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known |= {str(choice) for choice in field.validation_alias.choices}
        elif field.alias:
            known.add(field.alias)
    return frozenset(known)


_LOADERS = ("langchain_core.load.load", "langgraph.checkpoint.serde.jsonplus")

_INSTEAD = {
    "catalog": "give it to the constructor",
    "preflight": "give it to the constructor",
    "default_headers": "use extra_headers",
    "model_name": "use model",
    "stop_sequences": "use stop",
    "request_timeout": "use timeout",
    "streaming": "use stream() or stream=True",
}
CHECKED_IN_CALLS = frozenset({*_INSTEAD, "model_kwargs"})
"""The arguments that `check_call` looks at."""

_ENVIRONMENT = {
    "api_key": ("LUNOS_API_KEY",),
    "base_url": ("LUNOS_BASE_URL", "api_base"),
    "app_id": ("LUNOS_APP_ID",),
}


def config_app_id(config: Any = None) -> str | None:
    """Return the app id of a config (`configurable`, else `metadata`), or of the current one."""
    if config is None and var_child_runnable_config.get() is None:
        return None
    values: Mapping[str, Any] = ensure_config(config)
    for place in ("configurable", "metadata"):
        # others put values there too: only text counts
        app_id = (values.get(place) or {}).get("app_id")
        if isinstance(app_id, str) and app_id:
            return app_id
    return None


def config_metadata(config: Any = None, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the metadata of a config, or of the current one; the model's own wins."""
    if config is None and var_child_runnable_config.get() is None:
        return dict(own or {})
    return {**(ensure_config(config).get("metadata") or {}), **(own or {})}
