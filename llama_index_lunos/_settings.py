"""What every class of this adapter has: where to send, as whom, how patiently."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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

from llama_index_lunos._logs import log as _log
from llama_index_lunos.errors import LLAMA_INDEX_ERRORS
from lunos_core import Secret
from lunos_core.config import (
    DEFAULT_MAX_RESPONSE_BYTES,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    MISSING_KEY,
    Config,
)
from lunos_core.errors import LunosConfigError

if TYPE_CHECKING:
    from lunos_core.transport.client import AsyncClient, Client


def resolve_app_id(given: str | None) -> str | None:
    """The app id of one call: its own, else that of `instrument_tags({"app_id": …})` around it.

    `None` leaves it to the core: the `lunos_core.app()` block around the call, else the
    constructor's, else `LUNOS_APP_ID`.
    """
    return given if given is not None else active_instrument_tags.get().get("app_id")


class Opened:
    """What was made of the connection's settings; copies of an object share it while they agree.

    In one place: each private attribute of a pydantic object takes a microsecond to find.
    """

    def __init__(self, settings: tuple[Any, ...], config: Config) -> None:
        self.settings = settings
        self.config = config
        self.sync: Any = None
        self.asynchronous: Any = None


class GivenClients:
    """The user's own HTTP clients: shared by copies, left behind by pickles."""

    def __init__(self, sync: Any = None, asynchronous: Any = None) -> None:
        self.sync = sync
        self.asynchronous = asynchronous

    def __deepcopy__(self, memo: dict[int, Any]) -> GivenClients:
        """The same one: connections cannot be copied."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """An empty one, and a word about it: sockets do not travel."""
        if self.sync is not None or self.asynchronous is not None:
            _log.warning(
                "http_client and async_http_client do not travel in a pickle: "
                "the copy makes clients of its own"
            )
        return GivenClients, ()


class Connection(BaseComponent):
    """The connection's settings, and the clients that are made from them."""

    # inputs are hidden: pydantic's messages would print the key
    model_config = ConfigDict(
        arbitrary_types_allowed=True, hide_input_in_errors=True, protected_namespaces=()
    )

    api_key: SecretStr | Callable[[], str] | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description=(
            "The key, or a function that gives it for each call; LUNOS_API_KEY when not given. "
            "Never serialized."
        ),
    )
    api_base: str | None = Field(
        default=None,
        description="With or without /v1; LUNOS_BASE_URL, else the public service.",
    )
    app_id: str | None = Field(
        default=None,
        description="The application that calls are made for (X-App-ID); else LUNOS_APP_ID.",
    )
    timeout: Any = Field(
        default=DEFAULT_TIMEOUT,
        description="Seconds for the connect and for each read, or an httpx.Timeout.",
    )
    max_retries: int = Field(
        default=DEFAULT_MAX_RETRIES,
        description="How often a failed request is made again; 0 makes exactly one request.",
    )
    total_timeout: float | None = Field(
        default=None,
        description="Seconds for the whole call with all its retries, or a stream to its end.",
    )
    stream_idle_timeout: float | None = Field(
        default=None,
        description="Seconds that an open stream may go without an event; else timeout.",
    )
    retry_on_timeout: bool = Field(
        default=False,
        description=(
            "Whether a request that was sent and not answered in time is made again; "
            "both may be paid for."
        ),
    )
    max_response_bytes: int = Field(
        default=DEFAULT_MAX_RESPONSE_BYTES,
        description="The most that one answer may hold, decompressed.",
    )
    transport: Literal["httpx", "aiohttp"] = Field(
        default="httpx",
        description=(
            'What carries the async calls; "aiohttp" (the extra of that name) takes less of the '
            "CPU where a hundred calls and more are under way at once."
        ),
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
            "A lunos_core.Catalog (or AsyncCatalog): the cost of answers that name none, what the "
            "model can do, and the refusal of what cannot work, as far as it has been fetched."
        ),
    )

    _given: GivenClients = PrivateAttr(default_factory=GivenClients)
    _opened: Any = PrivateAttr(default=None)

    # other names under which a setting is known elsewhere
    _spellings: ClassVar[Mapping[str, str]] = {"base_url": "api_base"}

    def __init__(
        self, *, http_client: Any = None, async_http_client: Any = None, **settings: Any
    ) -> None:
        """Check once what every request needs, so that nothing is found out by sending it.

        Here and not in a validator, so that errors come as they are and not as pydantic's.
        """
        super().__init__(**_known_settings(type(self), settings, self._spellings))
        self._given = GivenClients(http_client, async_http_client)
        opened = self._configure()
        if opened.config.api_key is None:
            raise LunosConfigError(MISSING_KEY)
        self.api_base = opened.config.base_url
        opened.settings = self._connection_settings()

    def to_payload(self) -> dict[str, Any]:
        """What tracers see: never the key, never headers."""
        older = getattr(super(), "to_payload", None)  # llama-index-core 0.14.23 and newer
        return {**(older() if older is not None else {}), "app_id": self.app_id}

    @field_validator("api_key", mode="before")
    @classmethod
    def _take_core_secret(cls, value: Any) -> Any:
        return value.reveal() if isinstance(value, Secret) else value

    @field_serializer("timeout")
    def _timeout_in_seconds(self, timeout: Any) -> float | None:
        # an httpx.Timeout is no JSON: of its four numbers the one that matters most
        seconds: float | None = timeout if isinstance(timeout, int | float) else timeout.read
        return seconds

    @property
    def client(self) -> Client:
        """The sync client of these settings, made at first use."""
        opened = self._configure()
        if opened.sync is None:
            from lunos_core.transport.client import Client

            opened.sync = Client(
                opened.config,
                http_client=self._given.sync,
                errors=LLAMA_INDEX_ERRORS,
                prices=None if self.catalog is None else self.catalog.cached,
            )
        client: Client = opened.sync
        return client

    @property
    def async_client(self) -> AsyncClient:
        """The async client of these settings, made at first use; it serves any event loop."""
        opened = self._configure()
        if opened.asynchronous is None:
            from lunos_core.transport.client import AsyncClient

            opened.asynchronous = AsyncClient(
                opened.config,
                http_client=self._given.asynchronous,
                errors=LLAMA_INDEX_ERRORS,
                prices=None if self.catalog is None else self.catalog.cached,
            )
        client: AsyncClient = opened.asynchronous
        return client

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the settings, the key among them.

        Raises:
            TypeError: a key function that cannot travel; LlamaIndex would leave it out in silence.
        """
        if callable(self.api_key):
            try:
                pickle.dumps(self.api_key)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise TypeError(
                    "api_key is a function that cannot be pickled: define it at the top of a "
                    "module, or set LUNOS_API_KEY where the copy works"
                ) from error
        return super().__getstate__()

    def close(self) -> None:
        """Close the sync connections; the next call opens new ones."""
        if self._opened.sync is not None:
            self._opened.sync.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        if self._opened.asynchronous is not None:
            await self._opened.asynchronous.close()

    def _configure(self) -> Opened:
        """Read the settings, again where one was changed since (`llm.app_id = "other"`)."""
        settings = self._connection_settings()
        known: Opened | None = self._opened
        if known is not None and known.settings == settings:
            return known
        if self.catalog is not None and not callable(getattr(self.catalog, "cached", None)):
            raise TypeError(
                "catalog must be a lunos_core.Catalog (such as Lunos().models), not "
                f"{type(self.catalog).__name__}"
            )
        key = self.api_key
        config = Config.from_fields(
            self,
            api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
            base_url=self.api_base,
        )
        # the clients are dropped and not closed: a copy of this object may be using them
        opened = self._opened = Opened(settings, config)
        return opened

    def _connection_settings(self) -> tuple[Any, ...]:
        headers = None if self.default_headers is None else tuple(self.default_headers.items())
        return (
            self.api_key,
            self.api_base,
            self.app_id,
            self.timeout,
            self.max_retries,
            self.total_timeout,
            self.stream_idle_timeout,
            self.retry_on_timeout,
            self.max_response_bytes,
            self.transport,
            headers,
            id(self.catalog),
        )


def _known_settings(
    kind: type[BaseComponent], given: Mapping[str, Any], spellings: Mapping[str, str]
) -> dict[str, Any]:
    """The settings under their own names; `None` leaves the default.

    Raises:
        TypeError: a name that is none, or one setting under two names.
    """
    known: dict[str, Any] = {}
    named: dict[str, str] = {}
    for name, value in given.items():
        field = spellings.get(name, name)
        if field not in kind.model_fields:
            close = difflib.get_close_matches(name, [*kind.model_fields, *spellings], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{kind.__name__} has no setting named {name!r}{hint}")
        if value is None:
            continue
        if field in known and known[field] != value:
            raise TypeError(f"{named[field]!r} and {name!r} are the same setting, given twice")
        known[field] = value
        named[field] = name
    return known
