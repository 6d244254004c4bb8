"""`POST /embeddings`: texts to vectors.

Source of the format: the Lunos API reference names the endpoint; the rest is OpenAI's format.
Vectors are requested as base64 (little-endian float32), which takes a quarter of the bytes and of
the parsing; floats are accepted too.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunos_core.accounting.usage import Usage, parse_usage
from lunos_core.endpoints.build import json_call
from lunos_core.endpoints.params import EMBEDDING
from lunos_core.request import Reply, Request

PATH = "/embeddings"
ENCODINGS = ("base64", "float")


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector under OpenAI's names."""

    embedding: list[float]
    index: int
    object: str = "embedding"


@dataclass(slots=True)
class Embeddings:
    """The vectors of one request, in the order of its texts.

    Attributes:
        vectors: one list of floats for each text, all of the same length.
        usage: tokens and cost, or `None` if the server sent neither.
        model: the model that answered, as the server names it.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
    """

    vectors: list[list[float]] = field(repr=False)
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: int = 1

    @property
    def data(self) -> list[Embedding]:
        """The vectors in OpenAI's form: `response.data[0].embedding`."""
        return [Embedding(vector, i) for i, vector in enumerate(self.vectors)]


def embedding_request(
    texts: str | Sequence[str], /, *, model: str, **params: Any
) -> Request[Embeddings]:
    """Return the request for the vectors of one text or several.

    Args:
        texts: the texts, sent unchanged: without a tokenizer, and with their newlines.
        model: the model's id.
        **params: `dimensions`, `encoding_format` ("base64", the default, or "float"), `user`, and
            `app_id`, `extra_headers`, `extra_body`, `timeout` for this call.

    Raises:
        TypeError: a text that isn't a `str`, a parameter of the wrong type.
        ValueError: no text, a parameter out of range.

    Example:
        >>> from lunos_core import embedding_request
        >>> embedding_request(["a"], model="m", dimensions=8).body
        b'{"model":"m","input":["a"],"encoding_format":"base64","dimensions":8}'
    """
    several = [texts] if isinstance(texts, str) else text_list(texts)
    if not several:
        raise ValueError("no text to embed: give at least one")
    for position, text in enumerate(several):
        if not isinstance(text, str):
            raise TypeError(f"texts[{position}] must be a str, not {type(text).__name__}")
    encoding = check_encoding(params.get("encoding_format"))
    fields = {"model": model, "input": several, "encoding_format": encoding}
    others = {name: value for name, value in params.items() if name != "encoding_format"}
    dimensions = params.get("dimensions")
    return Request(
        **json_call(PATH, fields, others, EMBEDDING),
        # no fallback in the client: one index must not mix the vectors of two models
        parse=lambda reply: parse_embeddings(reply, len(several), dimensions),
    )


def text_list(texts: Iterable[str]) -> list[str]:
    """Return several texts as a list.

    Raises:
        TypeError: it is one text, which would be embedded letter by letter, or no texts at all.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise TypeError(f"texts must be a list of str, not {kind}: for one text, [text]")
    return list(texts)


def check_encoding(encoding: str | None) -> str:
    """Return the encoding of the vectors, by default base64.

    Raises:
        ValueError: neither "base64" nor "float".
    """
    if encoding is not None and encoding not in ENCODINGS:
        raise ValueError(f"encoding_format must be one of {ENCODINGS}, not {encoding!r}")
    return encoding or ENCODINGS[0]


def parse_embeddings(reply: Reply, expected: int, dimensions: int | None = None) -> Embeddings:
    """Read the vectors, sorted by `index`, whether the server sent base64 or floats.

    Args:
        reply: the answer.
        expected: the number of texts sent.
        dimensions: the requested length of each vector, or `None`.

    Raises:
        LunosResponseError: the number of vectors differs from that of the texts, their lengths
            differ or are wrong, or a value isn't a finite number.
        LunosAPIError: an error sent with a successful status.
    """
    value = reply.json()
    entries = entries_of(reply, value, expected)
    vectors = [_parse_vector(reply, entry, i) for i, entry in enumerate(entries)]
    length = dimensions or len(vectors[0])
    for position, vector in enumerate(vectors):
        check_length(reply, position, len(vector), length)
    return Embeddings(vectors=vectors, **facts_of(reply, value))


def entries_of(reply: Reply, value: Mapping[str, Any], expected: int) -> list[Any]:
    """Return the answer's entries, one for each text, in the order of the texts.

    Raises:
        LunosResponseError: their number or their numbering is wrong.
    """
    data = value.get("data")
    if not isinstance(data, list):
        raise reply.malformed("has no list of vectors")
    if len(data) != expected:
        raise reply.malformed(f"has {len(data)} vectors for {expected} texts")
    return _ordered(reply, data)


def facts_of(reply: Reply, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of an answer besides its vectors."""
    model = value.get("model")
    return {
        "usage": parse_usage(value.get("usage")),
        "model": model if isinstance(model, str) else None,
        "request_id": reply.request_id,
        "attempts": reply.attempts,
    }


def check_length(reply: Reply, position: int, length: int, expected: int) -> None:
    """Check the length of a vector.

    Raises:
        LunosResponseError: it is another one.
    """
    if length != expected:
        raise reply.malformed(f"has vector {position} of length {length}, not {expected}")


def _ordered(reply: Reply, data: list[Any]) -> list[Any]:
    indexes = [_index_of(entry) for entry in data]
    if len(data) > 1 and indexes.count(0) == len(data):
        return data  # some servers send 0 as every index
    ordered: list[Any] = [None] * len(data)
    unnumbered = []
    for index, entry in zip(indexes, data, strict=True):
        if index is None:
            unnumbered.append(entry)
            continue
        if not isinstance(index, int) or not 0 <= index < len(data) or ordered[index] is not None:
            raise reply.malformed(f"numbers its vectors wrongly (index {index!r})")
        ordered[index] = entry
    # without all indexes (some servers leave out only 0), the order is that of the answer
    rest = iter(unnumbered)
    return [next(rest) if entry is None else entry for entry in ordered]


def _index_of(entry: Any) -> Any:
    index = entry.get("index") if isinstance(entry, dict) else None
    return int(index) if isinstance(index, str) and index.isdecimal() and len(index) < 9 else index


def take_vector(entry: Any) -> Any:
    """Remove an entry's vector and return it: base64 text or a list of floats.

    Removed, so that its text is freed after reading: the texts of 2,048 vectors take 17 MB.
    """
    return entry.pop("embedding", None) if isinstance(entry, dict) else None


def _parse_vector(reply: Reply, entry: Any, position: int) -> list[float]:
    sent = take_vector(entry)
    try:
        vector = _decode(sent) if isinstance(sent, str) else [float(item) for item in sent]
        # one sum finds any NaN or infinity; real vectors are far from overflowing it
        finite = math.isfinite(sum(vector))
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise reply.malformed(f"has no valid vector at position {position}") from None
    if not vector:
        raise reply.malformed(f"has an empty vector {position}")
    if not finite:
        raise reply.malformed(f"has a vector {position} with NaN or infinity in it")
    return vector


def _decode(text: str) -> list[float]:
    numbers = array("f", base64.b64decode(text, validate=True))
    if sys.byteorder == "big":  # pragma: no cover - the wire is little-endian
        numbers.byteswap()
    return numbers.tolist()
