"""Networks that a mock hides: certificates, proxies that ask who is there, IPv6 alone, HTTP/2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncClient,
    Client,
    Config,
    LunosConnectionError,
    LunosError,
    chat_request,
    chat_stream_request,
)
from lunos_core.transport import pool
from tests.core.transport.http2_server import Http2Server
from tests.core.transport.tls_server import ANSWER, CA, Proxy, Server, running, tls_context
from tests.core.wire_samples import HELLO, delta, lines

if TYPE_CHECKING:
    from tests.conftest import Both

# httpx-aiohttp hands a proxy's password over in a way that newest aiohttp warns of
pytestmark = [
    pytest.mark.socket,
    pytest.mark.filterwarnings("ignore:.*(BasicAuth|proxy_auth).* is deprecated"),
]

SEND = chat_request(HELLO, model="m")
TRANSPORTS = ("httpx", "aiohttp")
KEY = "sk-net-51b0e7c2"
PASSWORD = "pa55-of-the-proxy"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No proxies of this machine, and a TLS context made anew."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)
    pool._ssl_context.cache_clear()
    yield
    pool._ssl_context.cache_clear()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the tests' authority, as a company's users do."""
    file = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def client_of(both: Both, url: str, transport: str) -> Any:
    kind = AsyncClient if both.is_async else Client
    return both.closing(kind(Config(api_key=KEY, base_url=url, transport=transport)))


async def failure(both: Both, client: Any) -> LunosError:
    with pytest.raises(LunosError) as caught:
        await both(client.send(SEND))
    return caught.value


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_private_authority_is_trusted_by_its_file(both: Both, transport: str) -> None:
    with running(Server(tls=tls_context("good"))) as server:
        client = client_of(both, f"https://127.0.0.1:{server.server_port}", transport)
        assert (await both(client.send(SEND))).text == "Hello there"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("kind", "reason", "remedy"),
    [
        ("untrusted", "unable to get local issuer|self.signed", "SSL_CERT_FILE"),
        ("expired", "expired", "renew"),
        ("wrong host", "not valid for|mismatch|doesn't match", "base_url"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_refused_and_the_remedy_is_named(
    both: Both, transport: str, kind: str, reason: str, remedy: str
) -> None:
    with running(Server(tls=tls_context(kind))) as server:
        client = client_of(both, f"https://127.0.0.1:{server.server_port}", transport)
        error = await failure(both, client)
        assert not server.seen, "no request, and so no key"
    assert isinstance(error, LunosConnectionError)
    assert error.attempts == 1, "trying again proves no more"
    assert re.search(reason, str(error)), str(error)
    assert remedy in str(error)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_gets_the_password_of_its_address(
    both: Both, transport: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = tls_context("good") if scheme == "https" else None
    with running(Server(tls=tls)) as server, running(Proxy(PASSWORD)) as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        monkeypatch.setenv(f"{scheme}_proxy", address)
        client = client_of(both, f"{scheme}://127.0.0.1:{server.server_port}", transport)
        assert (await both(client.send(SEND))).text == "Hello there"
        assert proxy.passed
        if scheme == "https":
            ((_, headers),) = server.seen
            assert "proxy-authorization" not in headers, "the password is the proxy's alone"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("wrong", [f"user:{PASSWORD}@", ""])
async def test_a_proxy_that_refuses_is_named_and_no_password_is_shown(
    both: Both, transport: str, scheme: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = tls_context("good") if scheme == "https" else None
    with running(Server(tls=tls)) as server, running(Proxy("another")) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{wrong}127.0.0.1:{proxy.port}")
        client = client_of(both, f"{scheme}://127.0.0.1:{server.server_port}", transport)
        error = await failure(both, client)
        assert not server.seen
        assert proxy.refused == 1, "the same password again changes nothing"
    shown = f"{error} {error!r} {error.__cause__} {error.__dict__}"
    assert PASSWORD not in shown
    assert KEY not in shown
    assert "407" in str(error)
    assert "proxy" in str(error).lower()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_address_of_ipv6_is_enough(both: Both, transport: str) -> None:
    try:
        server = Server("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(server):
        client = client_of(both, f"http://[::1]:{server.server_port}", transport)
        assert (await both(client.send(SEND))).text == "Hello there"
        assert server.seen[0][1]["host"] == f"[::1]:{server.server_port}"


@pytest.mark.usefixtures("trusted")
async def test_http2_through_a_client_of_the_users_own(both: Both) -> None:
    """Sent to a server that speaks HTTP/2 alone; a stream, too."""
    pytest.importorskip("h2")
    events = lines([delta("Hello"), delta(" there", "stop"), "[DONE]"])
    with running(Http2Server(ANSWER, events)) as server:
        kind, http = (AsyncClient, httpx.AsyncClient) if both.is_async else (Client, httpx.Client)
        own: Any = both.closing(http(http2=True))
        config = Config(api_key=KEY, base_url=f"https://127.0.0.1:{server.port}")
        client: Any = both.closing(kind(config, http_client=own))
        assert (await both(client.send(SEND))).text == "Hello there"
        chunks = await both.chunks(client, chat_stream_request(HELLO, model="m"))
        assert "".join(chunk.text for chunk in chunks) == "Hello there"
        assert server.keys == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize(
    ("reason", "is_refused"),
    [
        ("407 Proxy Authentication Required", True),
        ("407, message='Proxy Authentication Required'", True),
        ("Cannot connect to host 127.0.0.1:40705 ssl:default", False),
        ("Connect call failed ('127.0.0.1', 14071)", False),
        ("Cannot connect to host x.example:407 ssl:default", False),
    ],
)
def test_a_port_with_407_in_it_is_not_a_proxy_refusal(reason: str, is_refused: bool) -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: failing(reason))) as http:
        client = Client(Config("k", "https://x.test", max_retries=1), http_client=http)
        with pytest.raises(LunosConnectionError) as caught:
            client.send(chat_request(HELLO, model="m"))
    assert ("HTTPS_PROXY" in str(caught.value)) is is_refused
    assert caught.value.attempts == (1 if is_refused else 2)


def failing(reason: str) -> httpx.Response:
    raise httpx.ConnectError(reason)
