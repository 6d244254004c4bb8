"""A warning when the key would be sent unencrypted."""

from __future__ import annotations

import functools
import ipaddress
import sys
import warnings
from urllib.parse import urlsplit


class LunosPlainHTTPWarning(UserWarning):
    """The key and all messages are sent unencrypted, over `http://` to another machine.

    Issued once per origin and process, when a client is configured. This machine (`localhost`,
    127.0.0.0/8, `::1`) causes no warning; for a Unix socket, where the host is only a name, use
    `localhost`. If you trust the network, filter the warning:

    Example:
        >>> import warnings
        >>> from lunos_core import Config, LunosPlainHTTPWarning
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", LunosPlainHTTPWarning)
        ...     config = Config(api_key="sk-1", base_url="http://gateway.internal:8080")
    """


_warned: set[str] = set()

# The warning points at the user's line, not at ours or the frameworks'.
_NOT_THE_USERS = frozenset(
    {"lunos_core", "lunos_cli", "langchain_lunos", "llama_index_lunos", "pydantic"}
    | {"langchain", "langchain_core", "llama_index"}
)


def warn_of_plain_http(base_url: str) -> None:
    """Warn if `base_url` is `http://` to another machine; once per origin."""
    parts = urlsplit(base_url)
    if parts.scheme != "http" or parts.netloc in _warned or is_loopback(parts.hostname or ""):
        return
    warnings.warn(
        f"base_url is http://{parts.netloc}: the API key and all messages travel unencrypted; "
        "use https://, or filter LunosPlainHTTPWarning if you trust the network",
        LunosPlainHTTPWarning,
        stacklevel=_users_level(),
    )
    _warned.add(parts.netloc)  # last: if warnings are errors, each attempt raises


@functools.lru_cache(64)  # called for every new object
def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _users_level() -> int:
    """Return the `stacklevel`, for the caller, of the first frame outside these packages."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        str(frame.f_globals.get("__name__", "")).partition(".")[0] in _NOT_THE_USERS
    ):
        frame = frame.f_back
        level += 1
    return level
