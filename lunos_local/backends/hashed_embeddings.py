"""Embedding answers: their wire form, and vectors of hashed words."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import struct
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache

from starlette.responses import JSONResponse

from lunos_local.backends import tokens
from lunos_local.backends.base import Body
from lunos_local.errors import WireError

DEFAULT_DIMENSIONS = 256
_MAX_NUMBERS = 4_000_000
_WORD = re.compile(r"\w+|[^\w\s]")
# words recur; caching the features of longer ones would fill the memory
_LONGEST_KEPT = 40


def inputs_of(body: Body) -> list[str]:
    """Return the texts of an embedding request."""
    return [body["input"]] if isinstance(body["input"], str) else list(body["input"])


def to_wire(
    body: Body, vectors: Sequence[Sequence[float]], prompt_tokens: int, *, reverse: bool = False
) -> Body:
    """Return the answer with `vectors`, in the encoding that the request asks for."""
    in_base64 = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _base64(vector) if in_base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data[::-1] if reverse else data,
        "model": body["model"],
        "provider": "local",
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens, "cost": 0.0},
    }


class EmbeddingResponse(JSONResponse):
    """A response that encodes the answer vector by vector.

    All numbers at once, as Python objects, take ten times the memory of their text.
    """

    def render(self, content: Body) -> bytes:
        """Return the JSON text of an answer."""
        head = json.dumps({**content, "data": []}, separators=(",", ":"))
        before, after = head.split('"data":[]', 1)
        pieces = [before.encode(), b'"data":[']
        for item in content["data"]:
            pieces += json.dumps(item, separators=(",", ":"), default=list).encode(), b","
        if content["data"]:
            pieces.pop()
        return b"".join((*pieces, b"]", after.encode()))


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def hashed_vector(text: str, dimensions: int) -> array[float]:
    """Return a unit vector of the hashed words and trigrams of `text`.

    Texts that share words are near each other.
    """
    vector = array("d", bytes(8 * dimensions))
    has_words = False
    for match in _WORD.finditer(text.lower()):
        has_words = True
        _add(vector, match[0])
    if not has_words:
        _add(vector, text)
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:  # two features may cancel each other out
        vector[0] = length = 1.0
    return array("d", (round(value / length, 9) if value else 0.0 for value in vector))


def _add(vector: array[float], word: str) -> None:
    for place, weight in _kept_features(word) if len(word) <= _LONGEST_KEPT else _features(word):
        vector[place % len(vector)] += weight


def _features(word: str) -> Iterator[tuple[int, float]]:
    yield _hashed(word, 1.0)
    padded = f"<{word}>"
    for i in range(len(padded) - 2):
        yield _hashed(padded[i : i + 3], 0.3)


@lru_cache(maxsize=4096)
def _kept_features(word: str) -> tuple[tuple[int, float], ...]:
    return tuple(_features(word))


def _hashed(feature: str, weight: float) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest[:7], "little"), weight if digest[7] & 1 else -weight


class HashedEmbeddings:
    """`lunos/scripted-embedding`, in reverse order, as the API allows, except for aliases."""

    def __init__(self, *, reverse: bool = True) -> None:
        self._reverse = reverse

    async def embed(self, body: Body) -> Body:
        """Answer an embedding request."""
        return await asyncio.to_thread(self._answer, body)

    def _answer(self, body: Body) -> Body:
        texts = inputs_of(body)
        dimensions = body.get("dimensions") or DEFAULT_DIMENSIONS
        if len(texts) * dimensions > _MAX_NUMBERS:
            raise WireError(
                f"{len(texts):,} texts of {dimensions:,} dimensions are too many; send fewer.",
                param="input",
                code="array_too_long",
            )
        vectors = [hashed_vector(text, dimensions) for text in texts]
        counted = sum(tokens.count(text) for text in texts)
        return to_wire(body, vectors, counted, reverse=self._reverse)
