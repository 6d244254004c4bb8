"""How errors leave the clients: the seam between the core and what stands on it.

In a module of its own, so that an adapter can name its errors without loading what makes calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lunos_core.answers import Completion
from lunos_core.errors import LunosError


def as_it_is(completion: Completion) -> Completion:
    """The partial answer of a caller without a framework; a name, so that it can be pickled."""
    return completion


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """How errors leave the clients: an adapter's own classes, and its own type for `partial`.

    Attributes:
        types: the core's class to a class of the adapter that is derived from it.
        partial: turns a partial `Completion` into the framework's message.
    """

    types: Mapping[type[LunosError], type[LunosError]] = field(default_factory=dict)
    partial: Callable[[Any], Any] = as_it_is

    def apply(self, error: LunosError) -> LunosError:
        """The error as the caller sees it."""
        if error.partial is not None:
            error.partial = self.partial(error.partial)
        kind = self.types.get(type(error))
        if kind is None:
            return error
        mapped = kind(error.message, **error.facts())
        for note in getattr(error, "__notes__", ()):
            mapped.add_note(note)
        return mapped
