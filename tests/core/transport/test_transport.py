"""`transport="aiohttp"`: what carries the async calls, and nothing else, is another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import httpx
import pytest

from langchain_lunos import ChatLunos, LunosEmbeddings
from llama_index_lunos import Lunos as LlamaLunos
from lunos_core import (
    AsyncClient,
    AsyncLunos,
    Config,
    LunosConfigError,
    chat_request,
    chat_stream_request,
)
from lunos_core.transport.aiohttp import _named, _Response
from lunos_local import LocalGateway
from tests.core.raw_server import STALL, RawServer, chunk, http, sse_head
from tests.core.wire_samples import HELLO, delta, lines, stored

CHAT = json.dumps(stored("chat")).encode()
SEND = chat_request(HELLO, model="m", app_id="app")
NO_KEY: Any = None


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    """The sessions of aiohttp that were opened."""
    opened: list[aiohttp.ClientSession] = []
    plain = aiohttp.ClientSession.__init__

    def note(self: aiohttp.ClientSession, *args: Any, **settings: Any) -> None:
        plain(self, *args, **settings)
        if isinstance(self.cookie_jar, aiohttp.DummyCookieJar):  # httpx-aiohttp's own is let go
            opened.append(self)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", note)
    return opened


def client(server: RawServer) -> AsyncClient:
    return AsyncClient(Config(api_key="k", base_url=server.url, transport="aiohttp"))


def test_the_same_request_is_sent(sessions: Any) -> None:
    with RawServer(http(body=CHAT)) as server:
        plain = AsyncClient(Config(api_key="k", base_url=server.url))
        for way in (plain, client(server)):
            assert asyncio.run(way.send(SEND)).text == "Hello there"
        ours, theirs = server.requests
        assert (ours.line, ours.body) == (theirs.line, theirs.body)
        hop = {"connection", "host"}
        assert {name: value for name, value in theirs.headers.items() if name not in hop} == {
            name: value for name, value in ours.headers.items() if name not in hop
        }
    assert len(sessions) == 1


def test_httpx_logs_the_same_line(caplog: pytest.LogCaptureFixture) -> None:
    odd = http(body=CHAT).replace(b"Whatever", b"Gr\xfc\xdfe")
    with RawServer(http(body=CHAT), http(body=CHAT), odd) as server, caplog.at_level("INFO"):
        plain = AsyncClient(Config(api_key="k", base_url=server.url))
        for way in (plain, client(server), client(server)):
            assert asyncio.run(way.send(SEND)).text == "Hello there"
    told = [item.getMessage() for item in caplog.records if item.name == "httpx"]
    assert told[0] == told[1] != told[2]
    assert told[0].endswith('"HTTP/1.1 200 Whatever"')


@pytest.mark.slow
def test_connections_are_kept_bounded_by_nothing_and_closed_with_their_loop(sessions: Any) -> None:
    with RawServer(http(body=CHAT)) as server:
        used = client(server)

        async def many() -> None:
            await asyncio.gather(*(used.send(SEND) for _ in range(150)))
            await asyncio.gather(*(used.send(SEND) for _ in range(150)))

        for _ in range(2):
            asyncio.run(many())
            assert server.all_closed()
        assert server.connections <= 300
        assert [session.closed for session in sessions] == [True, True]


async def test_a_stream_left_early_gives_its_connection_back() -> None:
    with RawServer([sse_head(), chunk(lines([delta("Hello")])), STALL]) as server:
        used = client(server)
        async with await used.stream(chat_stream_request(HELLO, model="m")) as stream:
            assert (await anext(stream)).text == "Hello"
        assert await asyncio.to_thread(server.all_closed)
        await used.close()


async def test_both_adapters_and_the_plain_client_take_it(
    gateway: LocalGateway, sessions: Any
) -> None:
    key, url = gateway.api_key, gateway.base_url
    chat = ChatLunos(model="lunos/scripted", api_key=key, base_url=url, transport="aiohttp")
    llm = LlamaLunos("lunos/scripted", api_key=key, api_base=url, transport="aiohttp")
    vectors = LunosEmbeddings(
        model="lunos/scripted-embedding", api_key=key, base_url=url, transport="aiohttp"
    )
    lunos = AsyncLunos(key, base_url=url, transport="aiohttp")
    assert (await chat.ainvoke("Hi")).content == (await llm.acomplete("Hi")).text
    assert "".join([piece.text async for piece in chat.astream("Hi")]) == chat.invoke("Hi").content
    assert await vectors.aembed_query("a") == vectors.embed_query("a")
    assert (await lunos.chat.completions.create(model="lunos/scripted", messages=HELLO)).text
    assert len(sessions) == 4
    for model in (chat, vectors):
        await model.async_client.close()
    await llm.aclose()
    await lunos.close()
    assert all(session.closed for session in sessions)
    again = ChatLunos.model_validate({**chat.model_dump(), "api_key": "k"})
    assert again.transport == "aiohttp"
    assert LlamaLunos.from_dict({**llm.to_dict(), "api_key": "k"}).transport == "aiohttp"


def test_one_that_cannot_work_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LunosConfigError, match="transport must be one of"):
        Config(transport="curl")
    with pytest.raises(TypeError, match="'transport' is an argument of the constructor"):
        ChatLunos(model="m", api_key="k").invoke("Hi", transport="aiohttp")
    monkeypatch.setattr("lunos_core.config.is_installed", lambda name: False)
    with pytest.raises(LunosConfigError, match=r"pip install .lunos-integrations\[aiohttp\]"):
        Config(transport="aiohttp")


async def test_no_cookie_of_one_call_goes_with_the_next(both_transports: Any) -> None:
    with RawServer(http(body=CHAT, set_cookie="session=of-billing; Path=/")) as server:
        url = server.url.replace("127.0.0.1", "localhost")  # aiohttp keeps none of bare addresses
        used = AsyncClient(Config(api_key="k", base_url=url, transport=both_transports))
        await used.send(SEND)
        await used.send(SEND)
        assert [got.headers.get("cookie") for got in server.requests] == [None, None]
        await used.close()


@pytest.fixture(params=["httpx", "aiohttp"])
def both_transports(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_a_proxy_that_aiohttp_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    used = AsyncClient(Config(api_key="k", base_url="https://lunos.test", transport="aiohttp"))
    with pytest.raises(LunosConfigError) as refused:
        await used.send(SEND)
    assert refused.value.message == (
        "transport='aiohttp' doesn't support the socks5 proxy that the environment names: leave "
        "transport= out, or unset the proxy"
    )


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (aiohttp.ConnectionTimeoutError(), httpx.ConnectTimeout),
        (aiohttp.ClientConnectorError(NO_KEY, OSError()), httpx.ConnectError),
        (aiohttp.ServerDisconnectedError(), httpx.ReadError),
        (aiohttp.ServerTimeoutError(), None),
        (TimeoutError(), None),
        (None, None),
    ],
)
def test_a_failure_has_httpxs_name_by_its_cause(cause: Any, kind: Any) -> None:
    request = httpx.Request("GET", "http://x")
    failure = httpx.ReadTimeout("why")
    failure.__cause__ = cause
    named = _named(failure, request)
    if kind is None:
        assert named is failure
    else:
        assert (type(named), str(named), named.request) == (kind, "why", request)


class _Content:
    """A body as far as `_lost` reads it."""

    def __init__(self, *, eof: bool = False, known: Exception | None = None) -> None:
        self.is_eof, self.exception = (lambda: eof), (lambda: known)
        self.failures: list[Exception] = []
        self.set_exception = self.failures.append


async def test_who_reads_a_body_hears_once_that_its_connection_is_lost() -> None:
    def lose(content: _Content, closed: asyncio.Future[None] | None = None) -> list[Any]:
        _Response._lost(type("", (), {"content": content})(), closed)
        return [(type(failure), str(failure)) for failure in content.failures]

    told = [(aiohttp.ClientPayloadError, "the connection was lost")]
    cancelled, failed = (asyncio.get_running_loop().create_future() for _ in range(2))
    cancelled.cancel()
    failed.set_exception(OSError())
    assert [lose(_Content(), closed) for closed in (None, cancelled, failed)] == [told] * 3
    assert not failed._log_traceback  # its error was looked at
    assert lose(_Content(eof=True)) == lose(_Content(known=OSError())) == []
