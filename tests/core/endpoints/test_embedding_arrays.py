"""Vectors as one array are the vectors as lists, and are refused as they are."""

from __future__ import annotations

import base64
import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lunos_core import AsyncLunos, Lunos, LunosResponseError, embedding_array_request
from lunos_core.endpoints.embeddings import embedding_request
from lunos_local import LocalGateway
from tests.core.wire_samples import Wire, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

TEXTS = ["one", "two\n", "three"]


async def embed(both: Both, answer: Any, make: Any, **params: Any) -> Any:
    wire = Wire(reply(answer, x_request_id="req-1"))
    return await both(both.client(wire).send(make(TEXTS, model="m", **params)))


@pytest.mark.parametrize("name", ["embeddings", "embeddings_out_of_order", "embeddings_base64"])
async def test_the_array_holds_the_same_vectors_and_facts(both: Both, name: str) -> None:
    lists = await embed(both, stored(name), embedding_request)
    result = await embed(both, stored(name), embedding_array_request)
    assert result.array.dtype == np.float32
    assert result.array.tolist() == lists.vectors
    for fact in ("usage", "model", "request_id", "attempts"):
        assert getattr(result, fact) == getattr(lists, fact)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


GOOD = [0.0, 1.0]
BAD: list[Any] = [
    None,
    [GOOD, GOOD],
    [GOOD, GOOD, None],
    [GOOD, GOOD, []],
    [GOOD, GOOD, ""],
    [GOOD, GOOD, "no base64"],
    [GOOD, GOOD, "!" + packed(0.0, 1.0)],
    [GOOD, GOOD, "AAA="],
    [GOOD, GOOD, [1.0]],
    [GOOD, [1.0, 2.0, 3.0], GOOD],
    [GOOD, GOOD, ["x", "y"]],
    [GOOD, GOOD, [[1.0], [2.0]]],
    [GOOD, GOOD, {"a": 1}],
    [GOOD, GOOD, [None, 1.0]],
    [GOOD, packed(float("nan"), 1), GOOD],
    [GOOD, packed(1, float("inf")), GOOD],
    [GOOD, GOOD, [1e39, 1e300]],
]


@pytest.mark.parametrize("vectors", BAD)
async def test_what_makes_no_sense_is_refused(both: Both, vectors: Any) -> None:
    data = vectors and [{"index": i, "embedding": item} for i, item in enumerate(vectors)]
    with pytest.raises(LunosResponseError):
        await embed(both, {"data": data}, embedding_array_request)


@pytest.mark.parametrize("texts", ["a", ["a"]])
async def test_one_text_is_one_row(both: Both, texts: Any) -> None:
    rows = [{"index": i, "embedding": packed(1.0, 2.0)} for i in range(2)]
    client = both.client(Wire(reply({"data": rows[:1]}), reply({"data": rows})))
    request = embedding_array_request(texts, model="m")
    assert (await both(client.send(request))).array.tolist() == [[1.0, 2.0]]
    with pytest.raises(LunosResponseError):
        await both(client.send(request))


async def test_vectors_of_another_length_than_asked_are_refused(both: Both) -> None:
    data = [{"index": i, "embedding": GOOD} for i in range(3)]
    with pytest.raises(LunosResponseError, match="length 2, not 3"):
        await embed(both, {"data": data}, embedding_array_request, dimensions=3)


def test_without_numpy_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr("lunos_core.endpoints.embedding_arrays.is_installed", lambda name: False)
    with pytest.raises(ImportError, match="pip install numpy"):
        embedding_array_request("a", model="m")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_a_vector_that_isnt_finite_is_named_by_its_position(both: Both, bad: float) -> None:
    vectors = [[0.0, 1.0], [2.0, 3.0], [4.0, bad]]
    rows = [{"index": i, "embedding": packed(*vector)} for i, vector in enumerate(vectors)]
    with pytest.raises(LunosResponseError, match="has a vector 2 with NaN or infinity"):
        await embed(both, {"data": rows}, embedding_array_request)


async def test_the_plain_client_gives_arrays_too(both: Both, gateway: LocalGateway) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos: Any = kind(api_key=gateway.api_key, base_url=gateway.base_url)
    asked = {"model": "lunos/scripted-embedding", "input": ["a", "b"]}
    result = await both(lunos.embeddings.create_array(**asked))
    assert result.array.tolist() == (await both(lunos.embeddings.create(**asked))).vectors
    await both(lunos.close())
