"""What both framework adapters share: their clients, and the checks of their arguments."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from lunos_core._plain_http import is_loopback
from lunos_core.arguments import unknown_argument
from lunos_core.config import DEFAULT_BASE_URL, Config, normalise_base_url
from lunos_core.errors import ErrorMap, LunosConfigError, LunosError
from lunos_core.forks import first_use

if TYPE_CHECKING:
    from lunos_core.accounting.pricing import Prices
    from lunos_core.transport.client import AsyncClient, Client


class ClientPair:
    """The sync and the async client of an adapter's object, each made on first use.

    Copies of an object share their pair. A pickle contains the settings but not the
    connections.

    Args:
        config: the settings of both clients.
        errors: the adapter's error classes.
        catalog: gives the prices for answers without a cost.
        http_client: the user's own `httpx.Client`.
        async_http_client: the user's own `httpx.AsyncClient`.

    Attributes:
        sync: the sync client.
        asynchronous: the async client, for any event loop.

    Raises:
        TypeError: `catalog` isn't a catalog, or an HTTP client has another type.
    """

    sync: Client
    asynchronous: AsyncClient

    def __init__(
        self,
        config: Config,
        *,
        errors: ErrorMap,
        catalog: Any = None,
        http_client: Any = None,
        async_http_client: Any = None,
    ) -> None:
        self.config = config
        self._errors = errors
        self._catalog = check_catalog(catalog)
        self._http_clients = (http_client, async_http_client)
        # check the user's clients now, while the traceback shows where they come from
        if http_client is not None:
            _ = self.sync
        if async_http_client is not None:
            _ = self.asynchronous

    def __getattr__(self, name: str) -> Any:
        """Make a client when it is first used; from then on it is an ordinary attribute."""
        if name not in ("sync", "asynchronous"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with first_use:
            from lunos_core.transport.client import (
                AsyncClient,
                Client,
            )  # imports httpx: only for calls

            if name not in vars(self):  # else another thread has made it
                client: Client | AsyncClient
                if name == "sync":
                    client = Client(http_client=self._http_clients[0], **self._shared)
                    client.load_prices = functools.partial(_load_prices, catalog=self._catalog)
                else:
                    client = AsyncClient(http_client=self._http_clients[1], **self._shared)
                    client.load_prices = functools.partial(_aload_prices, catalog=self._catalog)
                setattr(self, name, client)
        return vars(self)[name]

    @property
    def _shared(self) -> dict[str, Any]:
        prices = None if self._catalog is None else self._catalog.cached
        config = self.config
        if config.tracing is None:
            # the frameworks' tracers record each call already: a span would count it twice
            config = replace(config, tracing=False)
        return {"config": config, "errors": self._errors, "prices": prices}

    def close(self) -> None:
        """Close the sync connections; the next call opens new ones."""
        if "sync" in vars(self):
            self.sync.close()

    async def aclose(self) -> None:
        """Close the async connections of this event loop; the next call opens new ones."""
        if "asynchronous" in vars(self):
            await self.asynchronous.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> ClientPair:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _pair, (self.config, self._errors, self._catalog)


def _load_prices(client: Client, catalog: Any) -> Prices:
    with first_use:
        from lunos_core.catalog.catalog import load_prices  # only with a budget

    return load_prices(client, catalog)


async def _aload_prices(client: AsyncClient, catalog: Any) -> Prices:
    with first_use:
        from lunos_core.catalog.catalog import aload_prices

    return await aload_prices(client, catalog)


def _pair(config: Config, errors: ErrorMap, catalog: Any) -> ClientPair:
    return ClientPair(config, errors=errors, catalog=catalog)


def check_names(owner: type, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what pydantic would take in silence: unknown arguments, and True as the number 1.

    Raises:
        TypeError: with the name of the argument and, if one is close, the name that was meant.
    """
    for name, value in given.items():
        if name not in known:
            remedy = "Pass parameters that this class doesn't know in extra_body."
            raise unknown_argument(owner.__name__, name, known, remedy)
        if isinstance(value, bool) and name != "logprobs":  # one candidate, in completions
            field = getattr(owner, "model_fields", {}).get(name)
            kinds = {*get_args(field.annotation), field.annotation} if field else set()
            if kinds & {int, float} and bool not in kinds:
                raise TypeError(f"{name} must be a number, not {value}")


def check_more(name: str, given: Mapping[str, Any]) -> None:
    """Refuse, in a setting of further parameters, what would replace the model or the messages.

    Raises:
        TypeError: `given` has one of them; the message names it and the setting.
    """
    for key in ("model", "messages", "prompt"):
        if key in given:
            raise TypeError(f"{name} can't contain {key!r}: it is an argument of its own")


def check_loaded_address(base_url: Any, api_key: Any = None) -> None:
    """Refuse to send the environment's key to an address that comes from loaded data.

    A constructor call is code: its author chose the address. A saved object may come from anyone,
    so the environment's key is sent only to the environment's address (`LUNOS_BASE_URL`, or the
    public service) and to this machine.

    Args:
        base_url: the address in the data, or `None`.
        api_key: the key given with it; `None` for that of the environment.

    Raises:
        LunosConfigError: the environment's key would be sent to another address.
    """
    secret = os.environ.get("LUNOS_API_KEY")
    reveal = getattr(api_key, "get_secret_value", None) or getattr(api_key, "reveal", None)
    key = reveal() if reveal is not None else api_key
    if not secret or not base_url or key not in (None, "", secret):
        return
    address = normalise_base_url(base_url)
    own = normalise_base_url(os.environ.get("LUNOS_BASE_URL") or DEFAULT_BASE_URL)
    if address != own and not is_loopback(urlsplit(address).hostname or ""):
        raise LunosConfigError(
            f"the loaded data names the address {address}, and the key of the environment isn't "
            "sent there: pass api_key=... when you load it, or set LUNOS_BASE_URL to that address"
        )


def find_image(name: str, folder: Path | None) -> str | Path | None:
    """Return the image that a model names, or `None`. Files outside the folder are never read.

    Args:
        name: a web address, a `data:` URL, or the name of a file in `folder`.
        folder: the folder in which a tool saved its images.
    """
    if name.lower().startswith(("https://", "http://", "data:image/")):
        return name
    file = None if folder is None else folder / Path(name).name
    return file if file is not None and file.is_file() else None


def check_catalog(catalog: Any) -> Any:
    """Return the catalog, or `None`.

    Raises:
        TypeError: it isn't a catalog.
    """
    if catalog is not None and not callable(getattr(catalog, "cached", None)):
        raise TypeError(
            "catalog must be a lunos_core.Catalog (such as Lunos().models), not "
            f"{type(catalog).__name__}"
        )
    return catalog


def refuse_impossible(
    catalog: Any, content: Any, params: Mapping[str, Any], *, model: str, errors: ErrorMap
) -> None:
    """Raise the server's error for an impossible request now, if the catalog shows it.

    Args:
        catalog: the catalog, or `None` for no check.
        content: the request's messages, or a prompt.
        params: the request's parameters.
        model: the model's id.
        errors: the adapter's error classes.

    Raises:
        LunosError: the model cannot do what the request needs.
    """
    check = getattr(catalog, "check", None)  # any object with `cached` can stand in for a catalog
    if check is None:
        return
    try:
        check(content, model=model, params=params)
    except LunosError as error:
        raise errors.apply(error) from None


def to_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return the wire's `tool_choice` for any spelling of the frameworks and of other providers.

    Args:
        choice: "auto", "none", "required", "any" or True (both mean "required"), the name of a
            tool, or OpenAI's or Anthropic's dict. `None` and False leave the choice to the server.
        tools: the request's tools, in the wire's form.

    Raises:
        ValueError: no tool has that name.
        TypeError: the choice has another type.
    """
    if choice is None or choice is False:
        return None
    if choice is True or choice == "any":
        return "required"
    if choice in ("auto", "none", "required"):
        return choice
    if isinstance(choice, str):
        return _named_tool(choice, tools)
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        if kind in ("auto", "none", "any"):  # Anthropic's
            return to_tool_choice(kind, tools)
        if kind == "tool":
            return _named_tool(str(choice.get("name")), tools)
        return dict(choice)
    raise TypeError(
        f"tool_choice must be a str, bool or dict, not {type(choice).__name__}: "
        "'auto', 'none', 'any', or the name of a tool"
    )


def _named_tool(name: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [str((tool.get("function") or {}).get("name") or tool.get("type")) for tool in tools]
    for tool, known in zip(tools, names, strict=True):
        if tool.get("type") == name:  # the server's tools have no other name
            return {"type": name}
        if known == name:
            return {"type": "function", "function": {"name": name}}
    raise ValueError(
        f"tool_choice {name!r} isn't one of the tools: {', '.join(names) or 'there are none'}"
    )
