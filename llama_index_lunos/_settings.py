"""The client settings that every class of this adapter has, and the clients made from them."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    field_validator,
)
from llama_index.core.schema import BaseComponent
from llama_index_instrumentation.dispatcher import active_instrument_tags

from llama_index_lunos._results import log
from llama_index_lunos.errors import LLAMA_INDEX_ERRORS
from lunos_core import Secret
from lunos_core.adapters import ClientPair, check_loaded_address, check_names
from lunos_core.config import MISSING_KEY, SHARED_NAMES, ClientSettings, Config
from lunos_core.endpoints.build import RUN_METADATA
from lunos_core.errors import LunosConfigError

if TYPE_CHECKING:
    from lunos_core.transport.client import AsyncClient, Client
else:  # so that type hints can be read at run time without loading httpx
    AsyncClient = Client = Any


def run_options(app_id: str | None = None) -> dict[str, Any]:
    """Return a call's app id, and the `instrument_tags` around it, for usage stores.

    The app id is the call's own, else that of `instrument_tags({"app_id": …})`. `None` leaves it
    to the core: the enclosing `lunos_core.app()` block, else the constructor's, else
    `LUNOS_APP_ID`.
    """
    tags = active_instrument_tags.get()
    return {
        "app_id": app_id if app_id is not None else tags.get("app_id"),
        RUN_METADATA: tags or None,
    }


class Opened(NamedTuple):
    """The clients, and the settings that they were made from."""

    settings: tuple[Any, ...]
    clients: ClientPair


class GivenClients:
    """The user's own HTTP clients: shared by copies, left behind by pickles."""

    def __init__(self, sync: Any = None, asynchronous: Any = None) -> None:
        self.sync = sync
        self.asynchronous = asynchronous

    def __deepcopy__(self, memo: dict[int, Any]) -> GivenClients:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.sync is not None or self.asynchronous is not None:
            log.warning(
                "http_client and async_http_client do not travel in a pickle: "
                "the copy makes clients of its own"
            )
        return GivenClients, ()


class Connection(BaseComponent, ClientSettings):
    """The client's settings, and the clients, which are made from them on first use."""

    # inputs are hidden: pydantic's messages would print the key
    model_config = ConfigDict(
        arbitrary_types_allowed=True, hide_input_in_errors=True, protected_namespaces=()
    )

    api_key: SecretStr | Callable[[], str] | Callable[[], Awaitable[str]] | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description=(
            "The key, or a function that returns it (called for each call; async calls accept an "
            "async function). Default: LUNOS_API_KEY. Never serialized."
        ),
    )
    api_base: str | None = Field(
        default=None,
        description="With or without /v1. Default: LUNOS_BASE_URL, else the public service.",
    )
    default_headers: dict[str, str] | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Sent with every request. Not serialized: they may hold secrets.",
    )

    catalog: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        description=(
            "A lunos_core.Catalog (or AsyncCatalog). Once it has been fetched, it supplies the "
            "model's abilities and the cost of answers that have none, and refuses requests that "
            "cannot work."
        ),
    )

    _given: GivenClients = PrivateAttr(default_factory=GivenClients)
    _opened: Any = PrivateAttr(default=None)

    # other names of a setting
    _spellings: ClassVar[Mapping[str, str]] = {"base_url": "api_base"}

    def __init__(
        self, *, http_client: Any = None, async_http_client: Any = None, **settings: Any
    ) -> None:
        """Check the settings once, before any request.

        A validator would wrap the errors in pydantic's.
        """
        super().__init__(**_own_names(type(self), settings, self._spellings))
        self._given = GivenClients(http_client, async_http_client)
        config = self._configure().config
        if config.api_key is None:
            raise LunosConfigError(MISSING_KEY)
        self.api_base = config.base_url
        self._opened = self._opened._replace(settings=self._current_settings())

    def model_post_init(self, context: Any, /) -> None:
        """Call the next class; defined here because the type hints of pydantic's don't resolve."""
        super().model_post_init(context)

    def to_payload(self) -> dict[str, Any]:
        """Return what tracers see: never the key, never headers."""
        older = getattr(super(), "to_payload", None)  # llama-index-core 0.14.23 and newer
        return {**(older() if older is not None else {}), "app_id": self.app_id}

    @field_validator("api_key", mode="before")
    @classmethod
    def _take_core_secret(cls, value: Any) -> Any:
        return value.reveal() if isinstance(value, Secret) else value

    @field_serializer("timeout")
    def _timeout_as_json(self, timeout: Any) -> Any:
        # JSON has no httpx.Timeout: keep the most important of its four numbers
        return timeout.read if hasattr(timeout, "read") else timeout

    @property
    def client(self) -> Client:
        """The sync client of these settings, made when it is first used."""
        return self._configure().sync

    @property
    def async_client(self) -> AsyncClient:
        """The async client of these settings, made when first used; it serves any event loop."""
        return self._configure().asynchronous

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """As LlamaIndex's; an address that only `data` names doesn't get the environment's key.

        Raises:
            LunosConfigError: it would get it; pass `api_key=...` to send one.
        """
        if not any(kwargs.get(name) for name in ("api_key", "api_base", "base_url")):
            check_loaded_address(data.get("api_base") or data.get("base_url"), data.get("api_key"))
        return super().from_dict(data, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        fields = state["__dict__"]
        if fields.get("api_key") is None:  # never in our own pickles: see `__getstate__`
            check_loaded_address(fields.get("api_base"))
        super().__setstate__(state)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the settings, including the key.

        Raises:
            TypeError: a key function cannot be pickled; LlamaIndex would silently drop it.
        """
        if callable(self.api_key):
            try:
                pickle.dumps(self.api_key)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise TypeError(
                    "api_key is a function that cannot be pickled: define it at the top of a "
                    "module, or set LUNOS_API_KEY where the copy works"
                ) from error
        state = super().__getstate__()
        if self.api_key is None:  # the environment's key, which another process may not have
            key = self._configure().config.known_key
            state = {**state, "__dict__": {**state["__dict__"], "api_key": SecretStr(key or "")}}
        return state

    def close(self) -> None:
        """Close the sync connections; the next call opens new ones."""
        self._opened.clients.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        await self._opened.clients.aclose()

    def _configure(self) -> ClientPair:
        """Return the clients; new ones if a setting has changed (`llm.app_id = "other"`)."""
        settings = self._current_settings()
        opened: Opened | None = self._opened
        if opened is None or opened.settings != settings:
            key = self.api_key
            config = Config.from_fields(
                self,
                api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
                base_url=self.api_base,
                default_headers=self.default_headers,
            )
            clients = ClientPair(
                config,
                errors=LLAMA_INDEX_ERRORS,
                catalog=self.catalog,
                http_client=self._given.sync,
                async_http_client=self._given.asynchronous,
            )
            # the old ones aren't closed: a copy of this object may be using them
            opened = self._opened = Opened(settings, clients)
        return opened.clients

    def _current_settings(self) -> tuple[Any, ...]:
        fields = self.__dict__
        headers = None if self.default_headers is None else tuple(self.default_headers.items())
        own = (self.api_key, self.api_base, headers, id(self.catalog))
        return (*own, *(fields[name] for name in SHARED_NAMES))


HTTP_CLIENTS = ("http_client", "async_http_client")


def _own_names(
    kind: type[BaseComponent], given: Mapping[str, Any], spellings: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings under their own names; `None` leaves the default.

    Raises:
        TypeError: an unknown setting, or one that is given under two names.
    """
    check_names(kind, given, {*kind.model_fields, *spellings, *HTTP_CLIENTS})
    own: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in given.items():
        field = spellings.get(name, name)
        if value is None:
            continue
        if field in own and own[field] != value:
            raise TypeError(f"{names[field]!r} and {name!r} are the same setting, given twice")
        own[field] = value
        names[field] = name
    return own
