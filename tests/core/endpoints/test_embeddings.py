"""Embeddings: what is sent, in which order vectors come back, and what is no answer."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import LunosResponseError, Usage, embedding_request
from tests.core.wire_samples import Wire, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

TEXTS = ["one", "two\n", "three"]
VECTORS = [[1.0, 0.5], [0.25, -2.0], [0.0, 3.5]]


async def embed(both: Both, answer: Any, texts: Any = TEXTS, **params: Any) -> tuple[Any, Wire]:
    wire = Wire(reply(answer, x_request_id="req-1"))
    request = embedding_request(texts, model="m", **params)
    return await both(both.client(wire).send(request)), wire


@pytest.mark.parametrize("name", ["embeddings", "embeddings_out_of_order", "embeddings_base64"])
@pytest.mark.parametrize("asked", [None, "float", "base64"])
async def test_vectors_come_in_the_order_of_the_texts_in_whichever_encoding(
    both: Both, name: str, asked: str | None
) -> None:
    answer, wire = await embed(both, stored(name), encoding_format=asked)
    assert answer.vectors == VECTORS
    assert answer.usage == Usage(input_tokens=6, total_tokens=6)
    assert (answer.model, answer.request_id) == ("openai/text-embedding-3-small", "req-1")
    assert str(wire.sent.url) == "https://lunos.test/v1/embeddings"
    assert wire.bodies == [{"model": "m", "input": TEXTS, "encoding_format": asked or "base64"}]


async def test_one_text_is_sent_in_a_list_and_options_as_they_are(both: Both) -> None:
    reply = {"data": [{"index": 0, "embedding": [1, 2]}]}
    answer, wire = await embed(both, reply, "one", dimensions=2, user="u", app_id="app")
    assert answer.vectors == [[1.0, 2.0]]
    assert wire.bodies == [
        {"model": "m", "input": ["one"], "encoding_format": "base64", "dimensions": 2, "user": "u"}
    ]
    assert wire.sent.headers["x-app-id"] == "app"


async def test_vectors_without_an_index_are_in_the_order_of_the_answer(both: Both) -> None:
    answer, _ = await embed(both, {"data": [{"embedding": vector} for vector in VECTORS]})
    assert answer.vectors == VECTORS


def rows(*vectors: Any, indexes: Any = None) -> dict[str, Any]:
    numbers = range(len(vectors)) if indexes is None else indexes
    data = [{"index": i, "embedding": v} for i, v in zip(numbers, vectors, strict=True)]
    return {"data": data, "model": "m"}


def b64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


NONSENSE: dict[str, tuple[Any, str]] = {
    "one too few": (rows([1], [2]), "2 vectors for 3 texts"),
    "one too many": (rows([1], [2], [3], [4]), "4 vectors for 3 texts"),
    "none at all": ({"data": []}, "0 vectors"),
    "no list": ({"data": "no"}, "no list"),
    "no data": ({"object": "list"}, "no list"),
    "an index twice": (rows([1], [2], [3], indexes=[0, 1, 1]), "numbers"),
    "an index from 1": (rows([1], [2], [3], indexes=[1, 2, 3]), "numbers"),
    "a negative index": (rows([1], [2], [3], indexes=[-1, 0, 1]), "numbers"),
    "an index in words": (rows([1], [2], [3], indexes=["first", "1", "2"]), "numbers"),
    "lengths that differ": (rows([1, 2], [3], [4, 5]), "vector 1 of length 1, not 2"),
    "an empty vector": (rows([1], [], [3]), "empty vector 1"),
    "an empty text": (rows([1], "", [3]), "empty vector 1"),
    "no vector": (rows([1], None, [3]), "no valid vector at position 1"),
    "words": (rows([1], ["a"], [3]), "no valid vector at position 1"),
    "nulls": (rows([1], [None], [3]), "no valid vector at position 1"),
    "a number": (rows([1], 7, [3]), "no valid vector at position 1"),
    "no base64": (rows([1], "§§§§", [3]), "no valid vector at position 1"),
    "base64 cut": (rows([1], b64(1.0)[:-1], [3]), "no valid vector at position 1"),
    "base64 of three bytes": (rows([1], "AAAA", [3]), "no valid vector at position 1"),
    "NaN in base64": (rows([1], b64(float("nan")), [3]), "NaN or infinity"),
    "infinities in base64": (rows([1, 2], b64(float("inf"), float("-inf")), [3, 4]), "NaN or inf"),
    "no objects": ({"data": [1, 2, 3]}, "no valid vector at position 0"),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_vectors_that_do_not_fit_the_texts_are_refused(both: Both, name: str) -> None:
    answer, words = NONSENSE[name]
    with pytest.raises(LunosResponseError, match=words) as caught:
        await embed(both, answer)
    assert (caught.value.status, caught.value.request_id) == (200, "req-1")


async def test_vectors_of_another_length_than_asked_for_are_refused(both: Both) -> None:
    with pytest.raises(LunosResponseError, match="of length 2, not 3"):
        await embed(both, stored("embeddings"), dimensions=3)


@pytest.mark.parametrize(
    ("texts", "params", "kind"),
    [
        ([], {}, ValueError),
        (["a", None], {}, TypeError),
        ([1, 2], {}, TypeError),
        ([["a"]], {}, TypeError),
        ("a", {"encoding_format": "int8"}, ValueError),
        ("a", {"dimensions": 0}, ValueError),
        ("a", {"dimensions": "8"}, TypeError),
        ("a", {"user": 5}, TypeError),
        ("a", {"model": ""}, ValueError),
        ("a", {"model": None}, TypeError),
    ],
)
def test_texts_and_options_that_the_wire_cannot_carry_are_refused(
    texts: Any, params: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        embedding_request(texts, **{"model": "m", **params})


@pytest.mark.parametrize(
    "indexes",
    [
        [None, 1, 2],
        [2, None, 1],
        [None, None, None],
        [0, 0, 0],
        [0, 0],
        ["0", "1", "2"],
        [None, 2, 1],
    ],
)
async def test_vectors_without_a_number_are_taken_by_their_place(
    both: Both, indexes: list[Any]
) -> None:
    vectors = [[float(i if index in (None, 0) else int(index))] for i, index in enumerate(indexes)]
    if indexes == [2, None, 1]:
        vectors = [[2.0], [0.0], [1.0]]
    wire = Wire(reply(rows(*vectors, indexes=indexes)))
    answer = await both(both.client(wire).send(embedding_request(["a"] * len(indexes), model="m")))
    assert answer.vectors == [[float(i)] for i in range(len(indexes))]
