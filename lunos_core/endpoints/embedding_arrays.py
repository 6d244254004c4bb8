"""Vectors as one numpy array: for indexes that want one, without a Python float for each number.

2,048 vectors of 1,536 numbers are 12 MB so, and 100 MB as lists. numpy is needed where it is asked
for, and nowhere else.
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
else:  # type hints can be read without numpy
    Array = Any


@dataclass(slots=True)
class EmbeddingArray:
    """The vectors of one request, in the order of its texts.

    Attributes:
        array: float32, one row for each text.
        usage: tokens and cost, or `None` where the server said nothing.
        model: the model that answered, as the server names it.
        request_id: the server's id of the request.
        attempts: requests made until the answer came.
    """

    array: Array = field(repr=False)
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: int = 1


def embedding_array_request(
    texts: str | Sequence[str], /, *, model: str, **params: Any
) -> Request[EmbeddingArray]:
    """`embedding_request`, for one array.

    Args:
        texts: what to embed, sent as it is.
        model: the model's id.
        **params: as `embedding_request` has them.

    Raises:
        ImportError: numpy is not installed.
        TypeError: a text isn't a `str`, or a parameter has the wrong type.
        ValueError: no text at all, a parameter out of range.

    Example:
        >>> from lunos_core import embedding_array_request
        >>> from lunos_core import Lunos
        >>> lunos = Lunos()
        >>> request = embedding_array_request(["a", "b"], model="lunos/scripted-embedding")
        >>> found = lunos.client.send(request).array
        >>> found.shape[0], str(found.dtype)
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
    """Return the rows of several answers as one array; of none, an empty one.

    Args:
        answers: in order.
        dimensions: how long a row would be, for no answer at all.
    """
    import numpy as np

    if not answers:
        return np.empty((0, dimensions or 0), dtype=np.float32)
    arrays = [answer.array for answer in answers]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def parse_embedding_array(
    reply: Reply, expected: int, dimensions: int | None = None
) -> EmbeddingArray:
    """Read the vectors into one array, sorted by `index`; checked as `parse_embeddings` does.

    Args:
        reply: the answer.
        expected: how many texts were sent.
        dimensions: how long each vector was asked to be, or `None`.

    Raises:
        LunosResponseError: another number of vectors than texts, vectors of different or wrong
            length, or with something in them that isn't a finite number.
        LunosAPIError: an error that came with a successful status.
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
                with np.errstate(over="ignore"):  # beyond float32 is infinity, refused below
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
