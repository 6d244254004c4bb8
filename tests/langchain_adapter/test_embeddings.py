"""`LunosEmbeddings`: what is sent, in how many requests at once, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from langchain_lunos import LunosEmbeddings, LunosError, LunosResponseError
from lunos_core import UsageLedger
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import KEY, clients, embeddings

ASYNC = pytest.mark.parametrize("is_async", [False, True])


async def embed(model: LunosEmbeddings, texts: Any, is_async: bool, **kwargs: Any) -> Any:
    if is_async:
        return await model.aembed_documents(texts, **kwargs)
    return model.embed_documents(texts, **kwargs)


class Lengths:
    """Gives each text the vector [its length, 1]; backwards, as the wire allows."""

    def __init__(self, *, as_base64: bool = False) -> None:
        self.as_base64 = as_base64
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=self.answer(json.loads(request.content)))

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": i, "embedding": self._vector(text)}
            for i, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        return {"object": "list", "model": "m", "data": data[::-1], "usage": usage}

    def _vector(self, text: str) -> Any:
        vector = [float(len(text)), 1.0]
        if not self.as_base64:
            return vector
        return base64.b64encode(struct.pack("<2f", *vector)).decode()

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


@ASYNC
@pytest.mark.parametrize("as_base64", [False, True])
async def test_vectors_come_in_the_order_of_the_texts(is_async: bool, as_base64: bool) -> None:
    wire = Lengths(as_base64=as_base64)
    texts = ["a" * length for length in range(1, 24)]
    model = embeddings(wire, chunk_size=4, max_concurrency=3)
    assert await embed(model, texts, is_async) == [[float(length), 1.0] for length in range(1, 24)]
    assert sorted(len(body["input"]) for body in wire.bodies) == [3, 4, 4, 4, 4, 4]


@ASYNC
async def test_texts_are_sent_as_they_are(is_async: bool) -> None:
    wire = Lengths()
    texts = ["one\ntwo\r\n", "", "  ä\u2028ö ", "x" * 9000]
    await embed(embeddings(wire), texts, is_async)
    assert wire.bodies == [{"model": "m", "input": texts, "encoding_format": "base64"}]


@ASYNC
async def test_settings_and_the_calls_own_go_into_the_body(is_async: bool) -> None:
    wire = Lengths()
    model = embeddings(
        wire,
        dimensions=2,
        encoding_format="float",
        user="u",
        extra_body={"a": 1, "b": 1},
        model_kwargs={"c": 1},
    )
    await embed(model, ["x"], is_async)
    await embed(model, ["x"], is_async, dimensions=None, user="v", extra_body={"b": 2}, app_id="q")
    common = {"model": "m", "input": ["x"], "encoding_format": "float", "a": 1, "c": 1}
    assert wire.bodies == [
        {**common, "dimensions": 2, "user": "u", "b": 1},
        {**common, "user": "v", "b": 2},
    ]
    assert wire.requests[1].headers["x-app-id"] == "q"


@ASYNC
@pytest.mark.parametrize("texts", [[], ()])
async def test_no_texts_make_no_request(texts: Any, is_async: bool) -> None:
    wire = Lengths()
    assert await embed(embeddings(wire), texts, is_async) == []
    assert not wire.requests


@ASYNC
@pytest.mark.parametrize(
    ("texts", "kwargs", "error"),
    [
        ("one text", {}, TypeError),
        (["a", 7], {}, TypeError),
        (["a", None], {"chunk_size": 1}, TypeError),
        (["a"], {"chunk_size": 0}, ValueError),
        (["a"], {"chunk_size": -1}, ValueError),
        (["a"], {"dimensions": 0}, ValueError),
        (["a"], {"encoding_format": "hex"}, ValueError),
    ],
)
async def test_bad_input_raises_before_anything_is_sent(
    texts: Any, kwargs: Any, error: type[Exception], is_async: bool
) -> None:
    wire = Lengths()
    with pytest.raises(error):
        await embed(embeddings(wire), texts, is_async, **kwargs)
    assert not wire.requests


@pytest.mark.parametrize(
    "setting",
    [{"chunk_size": 0}, {"dimensions": 0}, {"max_concurrency": 0}, {"encoding_format": "x"}],
)
def test_settings_out_of_range_raise(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        embeddings(None, **setting)


@ASYNC
async def test_a_short_answer_is_refused(is_async: bool, gateway: LocalGateway) -> None:
    model = LunosEmbeddings(
        model="lunos/short-embeddings", api_key=gateway.api_key, base_url=gateway.base_url
    )
    with pytest.raises(LunosResponseError, match=r"1 vectors for 2 texts"):
        await embed(model, ["a", "b"], is_async)


@ASYNC
async def test_a_failing_batch_raises_and_what_has_not_begun_is_not_begun(is_async: bool) -> None:
    class Fails(Lengths):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            good = super().__call__(request)
            bad = "bad" in json.loads(request.content)["input"]
            return httpx.Response(400, json={"error": "no"}) if bad else good

    wire = Fails()
    model = embeddings(wire, chunk_size=1, max_concurrency=2)
    with pytest.raises(LunosError, match="no"):
        await embed(model, ["bad", *"x" * 200], is_async)
    assert len(wire.requests) < 200


@contextmanager
def counting_server() -> Iterator[tuple[str, list[int]]]:
    """A real server that notes how many requests are under way; each waits for company."""
    lock = threading.Lock()
    under_way = 0
    seen: list[int] = []
    answer = Lengths().answer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal under_way
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                under_way += 1
                seen.append(under_way)
            company.wait(0.02)
            with lock:
                under_way -= 1
            data = json.dumps(answer(body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    company = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@ASYNC
@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_requests_at_once_than_allowed(is_async: bool, limit: int) -> None:
    with counting_server() as (url, seen):
        model = LunosEmbeddings(
            model="m", api_key=KEY, base_url=url, chunk_size=1, max_concurrency=limit
        )
        vectors = await embed(model, ["a" * i for i in range(1, 8)], is_async)
        model.client.close()
        await model.async_client.close()
    assert [vector[0] for vector in vectors] == [float(i) for i in range(1, 8)]
    assert len(seen) == 7
    assert max(seen) == limit


async def test_async_calls_do_not_hold_up_the_loop() -> None:
    began, go = asyncio.Event(), asyncio.Event()
    answer = Lengths().answer

    async def wire(request: httpx.Request) -> httpx.Response:
        began.set()
        await go.wait()
        return httpx.Response(200, json=answer(json.loads(request.content)))

    http = httpx.AsyncClient(transport=httpx.MockTransport(wire))
    model = LunosEmbeddings(
        model="m", api_key=KEY, base_url="https://l.test", http_async_client=http
    )
    waiting = asyncio.create_task(model.aembed_query("abc"))
    await began.wait()
    assert not waiting.done()
    go.set()
    assert await waiting == [3.0, 1.0]


async def test_a_cancelled_call_stops_its_requests() -> None:
    began = asyncio.Event()
    ended: list[str] = []

    async def wire(request: httpx.Request) -> httpx.Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stopped")
        raise AssertionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(wire))
    model = embeddings(Lengths(), http_async_client=http, chunk_size=1, max_concurrency=2)
    task = asyncio.create_task(model.aembed_documents(["a", "b", "c"]))
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["stopped"] * 2


@ASYNC
async def test_a_progress_bar_only_when_asked(
    is_async: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await embed(embeddings(Lengths(), chunk_size=1), ["a", "b"], is_async)
    assert "Embedding" not in capsys.readouterr().err
    model = embeddings(Lengths(), chunk_size=1, show_progress_bar=True)
    assert len(await embed(model, ["a", "b"], is_async)) == 2
    shown = capsys.readouterr().err
    assert "Embedding" in shown
    assert "2/2" in shown
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        await embed(model, ["a", "b"], is_async)


def test_embeddings_images_and_audio_import_no_chat_model() -> None:
    names = "LunosEmbeddings, LunosImageGeneration, LunosAudioTranscriber"
    code = (
        f"import sys; from langchain_lunos import {names}; "
        "assert 'langchain_core.language_models.chat_models' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@ASYNC
async def test_a_query_is_one_text(is_async: bool) -> None:
    wire = Lengths()
    model = embeddings(wire)
    result = await model.aembed_query("abc") if is_async else model.embed_query("abc")
    assert result == [3.0, 1.0]
    assert wire.bodies[0]["input"] == ["abc"]


@ASYNC
async def test_a_ledger_counts_every_batch(is_async: bool) -> None:
    model = embeddings(Lengths(), chunk_size=1, app_id="made")
    with UsageLedger() as ledger:
        await embed(model, ["a", "b", "c"], is_async)
    (row,) = ledger.rows()
    assert (row["app_id"], row["calls"], row["input_tokens"]) == ("made", 3, 3)


@ASYNC
async def test_no_other_model_embeds_for_one_that_failed(is_async: bool) -> None:
    asked: list[str] = []

    def wire(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["model"])
        return httpx.Response(404, json={"error": "no such model"})

    model = LunosEmbeddings(
        model="m",
        api_key=KEY,
        base_url="https://l.test",
        model_kwargs={"fallback_model": "other"},
        **clients(wire),
    )
    with pytest.raises(LunosError):  # vectors of two models do not belong into one index
        await embed(model, ["abc"], is_async)
    assert asked == ["m"]


# --- as one array --------------------------------------------------------------------------------


@ASYNC
async def test_the_vectors_of_several_batches_are_one_array(is_async: bool) -> None:
    texts = ["a" * length for length in range(1, 24)]
    model = embeddings(Lengths(as_base64=True), chunk_size=4, max_concurrency=3, dimensions=2)
    array = (
        await model.aembed_documents_array(texts)
        if is_async
        else model.embed_documents_array(texts)
    )
    assert str(array.dtype) == "float32"
    assert array.tolist() == await embed(model, texts, is_async)
    none = await model.aembed_documents_array([]) if is_async else model.embed_documents_array([])
    assert none.shape == (0, 2)
