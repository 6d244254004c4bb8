"""How errors leave this adapter.

LlamaIndex has no error tree, so the core's classes are raised unchanged: a rate limit is
`lunos_core.LunosRateLimitError` in both frameworks. `error.partial` has what arrived before a
failure, as LlamaIndex's own message.
"""

from __future__ import annotations

from typing import Any

from llama_index_lunos._results import to_message
from lunos_core.endpoints.chat.types import Completion
from lunos_core.errors import ErrorMap, LunosResponseError


class LunosStructuredOutputError(LunosResponseError, ValueError):
    """The model returned no object of the requested class.

    The message says why: a refusal, an answer cut off at `max_tokens`, text that isn't valid JSON,
    or JSON that doesn't fit the class. `partial` has the model's message. It is a `ValueError` too,
    as LlamaIndex's own programs raise.
    """


def partial_message(partial: Any) -> Any:
    """Return what arrived before a failure as a `ChatMessage`."""
    if not isinstance(partial, Completion):
        return partial
    return to_message(partial.choices[0].message) if partial.choices else None


LLAMA_INDEX_ERRORS = ErrorMap(framework="llama_index", partial=partial_message)
