"""Vectors as one numpy array, without a Python float for each number.

2,048 vectors of 1,536 numbers take 12 MB as an array and 100 MB as lists. Nothing else needs numpy.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from lunos_core.accounting.usage import Usage
from lunos_core.endpoints.embeddings import (
    check_length,
    embedding_request,
    entries_of,
    facts_of,
    take_vector,
)
from lunos_core.lazy import is_installed
from lunos_core.request import Reply, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:  # type hints work without numpy
    Array = Any


@dataclass(slots=True)
class EmbeddingArray:
    """The vectors of one request, in the order of its texts.

    Attributes:
        array: float32, one row for each text.
        usage: tokens and cost, or `None` if the server sent neither.
        model: the model that answered, as the server names it.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
    """

    array: Array = field(repr=False)
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: int = 1


def embedding_array_request(
    texts: str | Sequence[str], /, *, model: str, **params: Any
) -> Request[EmbeddingArray]:
    """Return an `embedding_request` with an array as its answer.

    Args:
        texts: the texts, sent unchanged.
        model: the model's id.
        **params: those of `embedding_request`.

    Raises:
        ImportError: numpy is not installed.
        TypeError: a text isn't a `str`, or a parameter has the wrong type.
        ValueError: no text, a parameter out of range.

    Example:
        >>> from lunos_core import embedding_array_request
        >>> from lunos_core import Lunos
        >>> lunos = Lunos()
        >>> request = embedding_array_request(["a", "b"], model="lunos/scripted-embedding")
        >>> array = lunos.client.send(request).array
        >>> array.shape[0], str(array.dtype)
        (2, 'float32')
    """
    if not is_installed("numpy"):
        raise ImportError("vectors as an array need numpy: pip install numpy")
    expected = 1 if isinstance(texts, str) else len(texts)
    plain: Any = embedding_request(texts, model=model, **params)
    return cast(
        "Request[EmbeddingArray]",
        replace(
            plain,
            parse=lambda reply: parse_embedding_array(reply, expected, params.get("dimensions")),
        ),
    )


def join_arrays(answers: Sequence[EmbeddingArray], dimensions: int | None = None) -> Array:
    """Return the rows of several answers as one array.

    Args:
        answers: in order; none gives an empty array.
        dimensions: the row length of an empty array.
    """
    import numpy as np

    if not answers:
        return np.empty((0, dimensions or 0), dtype=np.float32)
    arrays = [answer.array for answer in answers]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def parse_embedding_array(
    reply: Reply, expected: int, dimensions: int | None = None
) -> EmbeddingArray:
    """Read the vectors into one array, sorted by `index`, with the checks of `parse_embeddings`.

    Args:
        reply: the answer.
        expected: the number of texts sent.
        dimensions: the requested length of each vector, or `None`.

    Raises:
        LunosResponseError: the number of vectors differs from that of the texts, their lengths
            differ or are wrong, or a value isn't a finite number.
        LunosAPIError: an error sent with a successful status.
    """
    import numpy as np

    value = reply.json()
    entries = entries_of(reply, value, expected)
    rows: list[Any] = []
    for position, entry in enumerate(entries):
        sent = take_vector(entry)
        try:
            if isinstance(sent, str):
                row: Any = np.frombuffer(base64.b64decode(sent, validate=True), dtype="<f4")
            else:
                with np.errstate(over="ignore"):  # too large for float32: infinity, refused below
                    row = np.asarray(sent, dtype=np.float32)
            if row.ndim != 1:
                raise ValueError
        except (TypeError, ValueError, OverflowError, binascii.Error):
            raise reply.malformed(f"has no valid vector at position {position}") from None
        if not len(row):
            raise reply.malformed(f"has an empty vector {position}")
        check_length(reply, position, len(row), dimensions or len(rows[0] if rows else row))
        rows.append(row)
    array = np.stack(rows).astype(np.float32, copy=False)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise reply.malformed(f"has a vector {int(finite.argmin())} with NaN or infinity in it")
    return EmbeddingArray(array=array, **facts_of(reply, value))
