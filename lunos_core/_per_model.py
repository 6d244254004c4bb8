"""What follows from a model's facts, worked out once for each model and not with every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from lunos_core.models import ModelInfo

T = TypeVar("T")

_MOST = 1000  # a catalog that is fetched again and again leaves old models behind


class PerModel(Generic[T]):
    """A function of a `ModelInfo` that remembers its answers. Right under threads.

    By identity: to hash or compare a dozen fields would cost more than most of what is asked.

    Args:
        work_out: the function; what it gives must not depend on anything else.
    """

    def __init__(self, work_out: Callable[[ModelInfo], T]) -> None:
        self._work_out = work_out
        self._kept: dict[int, tuple[ModelInfo, T]] = {}

    def __call__(self, model: ModelInfo) -> T:
        """The answer for this model."""
        kept = self._kept.get(id(model))
        if kept is not None and kept[0] is model:  # an id may be another object's by now
            return kept[1]
        answer = self._work_out(model)
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[id(model)] = (model, answer)
        return answer
