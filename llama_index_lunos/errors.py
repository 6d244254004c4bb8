"""How errors leave this adapter.

LlamaIndex has no error tree of its own, so the core's classes leave as they are: a rate limit is
`lunos_core.LunosRateLimitError` in either framework. What had come before a failure is on
`error.partial`, as LlamaIndex's own message.
"""

from __future__ import annotations

from typing import Any

from llama_index_lunos._results import to_message
from lunos_core.endpoints.chat.types import Completion
from lunos_core.errors import ErrorMap, LunosResponseError


class LunosStructuredOutputError(LunosResponseError, ValueError):
    """The model gave no object of the requested class.

    The message says why: a refusal, an answer cut off at `max_tokens`, no JSON, or JSON that
    doesn't fit the class. `partial` holds the message. It is a `ValueError` too, as LlamaIndex's
    own programs raise.
    """


def partial_message(partial: Any) -> Any:
    """What had come before a failure, as a `ChatMessage`."""
    if not isinstance(partial, Completion):
        return partial
    return to_message(partial.choices[0].message) if partial.choices else None


LLAMA_INDEX_ERRORS = ErrorMap(partial=partial_message)
