"""Embedding answers: their form on the wire, and vectors of hashed words."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import re
import struct
from collections.abc import Sequence

from lunos_local.backends import tokens
from lunos_local.backends.base import Body
from lunos_local.errors import WireError

DEFAULT_DIMENSIONS = 256
_MAX_NUMBERS = 4_000_000


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
            "embedding": _base64(vector) if in_base64 else list(vector),
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


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def hashed_vector(text: str, dimensions: int) -> list[float]:
    """Return a unit vector of the hashed words and trigrams of `text`.

    Texts that share words are near each other.
    """
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+|[^\w\s]", text.lower()) or [text]:
        _add(vector, word, 1.0)
        padded = f"<{word}>"
        for i in range(len(padded) - 2):
            _add(vector, padded[i : i + 3], 0.3)
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:  # two features may cancel each other out
        vector[0] = length = 1.0
    return [round(value / length, 9) if value else 0.0 for value in vector]


def _add(vector: list[float], feature: str, weight: float) -> None:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    i = int.from_bytes(digest[:7], "little") % len(vector)
    vector[i] += weight if digest[7] & 1 else -weight


class HashedEmbeddings:
    """`lunos/scripted-embedding`, in reverse order, which the API allows; aliases are in order."""

    def __init__(self, *, reverse: bool = True) -> None:
        """Send the vectors in reverse order, or in the order of their texts."""
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
