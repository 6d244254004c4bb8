"""Calls as httpx' requests, out of parts that are made once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import httpx

from lunos_core.config import Timeout
from lunos_core.transport.call import SendCall, StreamCall
from lunos_core.transport.deadline import Patience

V = TypeVar("V")

_KEPT = 64


class Prepared:
    """Requests out of parts in httpx' own form: 60 to 90 µs less per call than from plain text.

    Each part is what httpx itself makes of the plain text. A user's client adds to each request
    whatever it adds (headers, cookies, parameters), as ever; ours add the same to all, so that is
    kept as well, for 12 µs less.

    Args:
        ours: whether the HTTP clients are ours.
    """

    def __init__(self, *, ours: bool) -> None:
        self._ours = ours
        self._urls: dict[str, httpx.URL] = {}
        self._headers: dict[Hashable, httpx.Headers] = {}
        self._timeouts: dict[float, dict[str, float | None]] = {}

    def request(
        self, http: httpx.Client | httpx.AsyncClient, call: SendCall[Any] | StreamCall[Any]
    ) -> httpx.Request:
        """The request of a call's next attempt, as `http` sends it."""
        call.patience.attempt()
        method, body = call.request.method, call.request.body
        url = self._url(call.url)
        extensions = {"timeout": self._timeout(call.timeout, call.patience)}
        key = call.headers_key
        if key is None:
            return http.build_request(
                method, url, content=body, headers=call.headers, extensions=extensions
            )
        headers = self._headers.get(key)
        if headers is None:
            headers = _keep(self._headers, key, self._headers_of(http, call))
        make = httpx.Request if self._ours else http.build_request
        return make(method, url, content=body, headers=headers, extensions=extensions)

    def _headers_of(
        self, http: httpx.Client | httpx.AsyncClient, call: SendCall[Any] | StreamCall[Any]
    ) -> httpx.Headers:
        if not self._ours:
            return httpx.Headers(call.headers)
        headers = http.build_request("GET", self._url(call.url), headers=call.headers).headers
        del headers["host"]  # of the URL, which is another for the catalog
        return headers

    def _url(self, url: str) -> httpx.URL:
        found = self._urls.get(url)
        return found if found is not None else _keep(self._urls, url, httpx.URL(url))

    def _timeout(self, timeout: Timeout, patience: Patience) -> dict[str, float | None]:
        """A dict of its own for every request: users' hooks may change it."""
        if not isinstance(timeout, int | float):
            parts: Any = timeout  # named by a protocol, so that no signature needs httpx
            found = httpx.Timeout(parts).as_dict()
        else:
            kept = self._timeouts.get(timeout)
            if kept is None:
                # waiting for a free connection is no sign of trouble at the server
                kept = httpx.Timeout(timeout, pool=None).as_dict()
                _keep(self._timeouts, timeout, kept)
            found = kept.copy()
        if not patience.limited:
            return found
        return {phase: patience.cap(seconds) for phase, seconds in found.items()}


def _keep(kept: dict[Any, V], key: Hashable, value: V) -> V:
    """Keep a value; not more than a few dozen, though: app ids and ids in paths are without end."""
    if len(kept) >= _KEPT:
        kept.clear()
    kept[key] = value
    return value
