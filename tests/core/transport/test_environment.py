"""What the environment says of proxies and certificates, where it can't be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from lunos_core import AsyncClient, Client, Config, LunosConfigError, chat_request
from lunos_core.transport import pool
from tests.core.wire_samples import HELLO

if TYPE_CHECKING:
    from tests.conftest import Both

WRONG = {
    "ALL_PROXY": ["foo://user:pa55@x:1", "http://user:pa55@x:port", "socks5://user:pa55@x:1"],
    "https_proxy": ["foo://user:pa55@x:1"],
    "SSL_CERT_FILE": ["/does/not/exist.pem", __file__],
}


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
async def test_an_environment_that_cannot_be_used_is_named(
    both: Both, monkeypatch: pytest.MonkeyPatch, name: str, value: str, transport: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it isn't installed
    if value == "/does/not/exist.pem" and httpx.__version__ < "0.28":
        pytest.skip("httpx 0.27 passes over a certificate file that isn't there")
    pool._ssl_context.cache_clear()
    monkeypatch.setenv(name, value)
    kind = AsyncClient if both.is_async else Client
    config = Config(api_key="k", base_url="https://lunos.test", transport=transport)
    client = both.closing(kind(config))
    named = "proxy" if "proxy" in name.lower() else name
    with pytest.raises(LunosConfigError, match=named) as caught:
        await both(client.send(chat_request(HELLO, model="m")))
    assert "pa55" not in str(caught.value)
