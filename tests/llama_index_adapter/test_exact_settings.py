"""Defaults, bounds, copies, batches and documents of the LlamaIndex classes, by their values."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock
from llama_index.core.embeddings.loading import load_embed_model
from llama_index.core.llms.loading import load_llm

from llama_index_lunos import (
    Lunos,
    LunosAudioReader,
    LunosEmbedding,
    LunosImageToolSpec,
    LunosSpeechToolSpec,
)
from llama_index_lunos.embeddings import _register as register_embedding
from llama_index_lunos.llm import _register as register_llm
from lunos_core import Catalog, Client, Config, LunosError
from tests.llama_index_adapter.wire import KEY, Way, Wire, answer, delta, error, reply, stream

BOTH = pytest.mark.parametrize("kind", [Lunos, LunosEmbedding])
PNG = "iVBORw0KGgoAAAAN"


def embedded(request: httpx.Request) -> httpx.Response:
    """A vector for each text: its length."""
    texts = json.loads(request.content)["input"]
    items = [{"index": i, "embedding": [float(len(text))]} for i, text in enumerate(texts)]
    return httpx.Response(200, json={"data": items})


def test_the_defaults_are_those_of_the_pages() -> None:
    made = LunosEmbedding("e", api_key=KEY)
    assert (made.embed_batch_size, made.num_workers) == (96, 4)
    assert "embeddings_cache" not in made.to_dict()
    llm = Lunos("m", api_key=KEY)
    assert (llm.metadata.num_output, llm.preflight, llm.temperature) == (-1, True, None)
    reader = LunosAudioReader("a", api_key=KEY)
    assert (reader.by_segment, reader.is_remote) == (False, True)
    assert LunosImageToolSpec("i", api_key=KEY).spec_functions == [
        ("generate_image", "agenerate_image")
    ]


@pytest.mark.parametrize(("number", "fits"), [(0, False), (1, True)])
@pytest.mark.parametrize("name", ["embed_batch_size", "num_workers"])
def test_a_number_of_things_at_once_is_1_or_more(name: str, number: int, fits: bool) -> None:
    if fits:
        assert getattr(LunosEmbedding("e", api_key=KEY, **{name: number}), name) == number
        return
    with pytest.raises(ValueError, match=name):
        LunosEmbedding("e", api_key=KEY, **{name: number})


@pytest.mark.parametrize("size", [1, 2, 3, 9])
async def test_an_array_has_a_row_for_each_text_of_every_batch(way: Way, size: int) -> None:
    sizes: list[int] = []

    def wire(request: httpx.Request) -> httpx.Response:
        sizes.append(len(json.loads(request.content)["input"]))
        return embedded(request)

    model = way.embedding(wire, embed_batch_size=size, encoding_format="float", num_workers=1)
    array = await way(model, "get_text_embedding_array", ["a", "bb", "ccc", "dddd", "eeeee"])
    assert array.tolist() == [[1.0], [2.0], [3.0], [4.0], [5.0]]
    assert sizes == {1: [1] * 5, 2: [2, 2, 1], 3: [3, 2], 9: [5]}[size]
    wrong: Any = "a"
    with pytest.raises(TypeError, match="texts must be a list of str"):
        await way(model, "get_text_embedding_array", wrong)


async def test_a_failing_batch_of_an_array_raises_its_own_error() -> None:
    way = Way("async")
    model = way.embedding(Wire(error(400, "no")), embed_batch_size=1, max_retries=0)
    with pytest.raises(LunosError, match="no"):
        await model.aget_text_embedding_array(["a", "b", "c"])
    await way.close()


@pytest.mark.parametrize("workers", [1, 2, None])
async def test_the_bound_of_requests_follows_the_setting(workers: int | None) -> None:
    way, most, running = Way("async"), 0, 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return embedded(request)

    client = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    model = LunosEmbedding(
        "e", api_key=KEY, async_http_client=client, embed_batch_size=1, num_workers=3
    )
    await model.aget_text_embedding_batch(["a"])
    model.num_workers = workers
    await model.aget_text_embedding_array(["a"] * 8)
    assert most == (workers or 4)
    await way.close()
    await client.aclose()


@BOTH
@pytest.mark.parametrize("names", [("api_base", "base_url"), ("base_url", "api_base")])
def test_a_setting_under_two_names_must_be_the_same(kind: Any, names: tuple[str, str]) -> None:
    for first, second in (
        ("https://a.test", "https://b.test"),
        ("https://b.test", "https://a.test"),
    ):
        with pytest.raises(TypeError, match="are the same setting, given twice"):
            kind("m", api_key=KEY, **dict(zip(names, (first, second), strict=True)))
    same = dict.fromkeys(names, "https://a.test")
    assert kind("m", api_key=KEY, **same).api_base.startswith("https://a.test")


@BOTH
@pytest.mark.parametrize("name", ["http_client", "async_http_client"])
def test_a_pickle_leaves_out_the_http_client_with_a_warning(
    kind: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = httpx.Client() if name == "http_client" else httpx.AsyncClient()
    with caplog.at_level(logging.WARNING):
        pickle.dumps(kind("m", api_key=KEY))
        assert "do not travel" not in caplog.text
        copied = pickle.loads(pickle.dumps(kind("m", api_key=KEY, **{name: client})))
    assert "do not travel in a pickle" in caplog.text
    assert copied._given.sync is copied._given.asynchronous is None


@BOTH
def test_clients_are_kept_until_a_setting_changes(kind: Any) -> None:
    made = kind("m", api_key=KEY, app_id="b")
    first = made.client
    assert made.client is first
    for app_id in ("a", "c"):
        made.app_id = app_id
        assert made.client is not first
        first = made.client
        assert made.client is first


@BOTH
def test_what_is_secret_or_holds_connections_is_in_no_text(kind: Any) -> None:
    made = kind("m", api_key=KEY, default_headers={"x-token": "sk-hidden"})
    made.catalog = Catalog(Client(Config(api_key="k", base_url="https://lunos.test")))
    for text in (repr(made), str(made.to_dict()), str(made.to_payload())):
        assert KEY not in text
        assert "hidden" not in text
        assert "Catalog" not in text
    wrong: Any = ["sk-in-a-list"]
    with pytest.raises((TypeError, ValueError)) as caught:
        kind("m", api_key=wrong)
    assert "sk-in-a-list" not in str(caught.value)
    assert "default_headers" not in made.to_dict()
    payload = kind("m", api_key=KEY, app_id="shop").to_payload()
    assert (payload["app_id"], payload["model"]) == ("shop", "m")


def test_a_loader_of_llama_index_that_cannot_be_imported_is_no_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.embeddings.loading", None)
    register_embedding()
    monkeypatch.setitem(sys.modules, "llama_index.core.llms.loading", None)
    register_llm()


@BOTH
def test_llama_index_knows_the_class_by_its_name(kind: Any) -> None:
    written = {**kind("m", api_key=KEY).to_dict(), "api_key": KEY}
    load: Any = load_llm if kind is Lunos else load_embed_model
    assert type(load(written)) is kind


async def test_a_prompt_is_formatted_unless_it_is_already(way: Way) -> None:
    def wire() -> Any:
        return Wire(stream(delta("Hi"), delta(finish="stop")))

    for method in ("complete", "stream_complete"):
        sent = wire() if "stream" in method else Wire(answer("Hi"))
        llm = way.llm(sent, completion_to_prompt=lambda text: f"<{text}>")
        await way(llm, method, "a")
        await way(llm, method, "a", formatted=True)
        texts = [body["messages"][0]["content"] for body in sent.bodies]
        assert texts == ["<a>", "a"]


async def test_a_calls_model_is_the_one_that_is_asked(way: Way) -> None:
    wire = Wire(answer("Hi"))
    llm = way.llm(wire)
    await way(llm, "chat", [ChatMessage("a")], model="other")
    await way(llm, "complete", "a", model="other")
    await way(llm, "complete", "a")
    assert [body["model"] for body in wire.bodies] == ["other", "other", "m"]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_one_image_is_a_block_and_several_are_a_list(
    way: Way, count: int, tmp_path: Path
) -> None:
    data = [{"b64_json": PNG} for _ in range(count)]
    for folder in (None, tmp_path / "new"):
        spec = LunosImageToolSpec(
            "m",
            folder=folder,
            params={"seed": 3},
            size="256x256",
            **way._connection(Wire(reply({"data": data}))),
        )
        blocks = await way(spec, "generate_image", "a cat")
        several = blocks if count > 1 else [blocks]
        assert len(several) == count
        assert all(isinstance(block, ImageBlock) for block in several)
        assert [block.path is None for block in several] == [folder is None] * count
        assert await way(spec, "generate_image", " ") == "Nothing was drawn: the prompt is empty."
    assert len(list((tmp_path / "new").iterdir())) == 1  # named by its content


async def test_parameters_of_both_kinds_are_sent(way: Way) -> None:
    wire = Wire(reply({"data": [{"b64_json": PNG}]}))
    spec = LunosImageToolSpec("m", params={"seed": 3}, size="256x256", **way._connection(wire))
    await way(spec, "generate_image", "a cat")
    assert wire.body == {"model": "m", "prompt": "a cat", "seed": 3, "size": "256x256"}
    for kind in (LunosImageToolSpec, LunosSpeechToolSpec):
        with pytest.raises(TypeError, match="'sizes'"):
            kind("m", api_key=KEY, sizes="x")


async def test_the_model_learns_that_an_image_is_missing(way: Way, tmp_path: Path) -> None:
    wire = Wire(answer("no"))
    spec = LunosImageToolSpec("m", folder=tmp_path, edits=True, **way._connection(wire))
    assert await way(spec, "edit_image", "redder", "cat.png") == (
        "Nothing was drawn: there is no image 'cat.png'."
    )
    assert (
        await way(spec, "edit_image", " ", "cat.png") == "Nothing was drawn: the prompt is empty."
    )
    assert wire.requests == []


@pytest.mark.parametrize("by_segment", [False, True])
async def test_numbers_of_a_recording_are_hidden_from_models(
    way: Way, by_segment: bool, tmp_path: Path
) -> None:
    file = tmp_path / "memo.wav"
    file.write_bytes(b"RIFF....WAVE")
    told = {
        "text": "One. Two.",
        "language": "en",
        "duration": 2.5,
        "segments": [
            {"id": 0, "start": 0.0, "end": 1.0, "text": "One."},
            {"id": 1, "start": 1.0, "end": 2.5, "text": "Two."},
        ],
    }
    wire = Wire(reply(told))
    reader = LunosAudioReader("a", by_segment=by_segment, **way._connection(wire))
    documents = await way(reader, "load_data", file, extra_info={"owner": "Ada"})
    texts = [document.text for document in documents]
    assert texts == (["One.", "Two."] if by_segment else ["One. Two."])
    for document in documents:
        known = document.metadata
        assert (known["file_name"], known["owner"], known["language"]) == ("memo.wav", "Ada", "en")
        hidden = set(document.excluded_embed_metadata_keys)
        assert hidden == set(document.excluded_llm_metadata_keys)
        assert hidden == known.keys() - {"file_name", "owner", "language"}
    asked = b"verbose_json" in wire.request.content
    assert asked == by_segment
    assert b'filename="memo.wav"' in wire.request.content
