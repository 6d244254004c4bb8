"""The small HTTP core of `lunos-integrations`: Lunos' wire, without any framework.

`Lunos` and `AsyncLunos` are its friendly face; the adapters build requests and send them with
`Client` and `AsyncClient`. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lunos_core._secret import Secret
    from lunos_core.answers import Chunk, Completion, Message, ToolCall
    from lunos_core.chat import chat_request, chat_stream_request
    from lunos_core.client import AsyncClient, Client
    from lunos_core.completions import completion_request, completion_stream_request
    from lunos_core.config import Config
    from lunos_core.embeddings import Embeddings, embedding_request
    from lunos_core.errors import (
        LunosAPIError,
        LunosAuthenticationError,
        LunosBadRequestError,
        LunosConfigError,
        LunosConflictError,
        LunosConnectionError,
        LunosContextOverflowError,
        LunosError,
        LunosNotFoundError,
        LunosPaymentError,
        LunosPermissionError,
        LunosRateLimitError,
        LunosResponseError,
        LunosServerError,
        LunosStreamInterruptedError,
        LunosTimeoutError,
    )
    from lunos_core.ledger import CallRecord, UsageLedger
    from lunos_core.request import Request, StreamRequest
    from lunos_core.sdk import AsyncLunos, Lunos
    from lunos_core.streams import AsyncStream, Stream
    from lunos_core.usage import Usage

_HOMES = {
    "_secret": ("Secret",),
    "answers": ("Chunk", "Completion", "Message", "ToolCall"),
    "chat": ("chat_request", "chat_stream_request"),
    "client": ("AsyncClient", "Client"),
    "completions": ("completion_request", "completion_stream_request"),
    "config": ("Config",),
    "embeddings": ("Embeddings", "embedding_request"),
    "errors": (
        "LunosAPIError",
        "LunosAuthenticationError",
        "LunosBadRequestError",
        "LunosConfigError",
        "LunosConflictError",
        "LunosConnectionError",
        "LunosContextOverflowError",
        "LunosError",
        "LunosNotFoundError",
        "LunosPaymentError",
        "LunosPermissionError",
        "LunosRateLimitError",
        "LunosResponseError",
        "LunosServerError",
        "LunosStreamInterruptedError",
        "LunosTimeoutError",
    ),
    "ledger": ("CallRecord", "UsageLedger"),
    "request": ("Request", "StreamRequest"),
    "sdk": ("AsyncLunos", "Lunos"),
    "streams": ("AsyncStream", "Stream"),
    "usage": ("Usage",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncClient",
    "AsyncLunos",
    "AsyncStream",
    "CallRecord",
    "Chunk",
    "Client",
    "Completion",
    "Config",
    "Embeddings",
    "Lunos",
    "LunosAPIError",
    "LunosAuthenticationError",
    "LunosBadRequestError",
    "LunosConfigError",
    "LunosConflictError",
    "LunosConnectionError",
    "LunosContextOverflowError",
    "LunosError",
    "LunosNotFoundError",
    "LunosPaymentError",
    "LunosPermissionError",
    "LunosRateLimitError",
    "LunosResponseError",
    "LunosServerError",
    "LunosStreamInterruptedError",
    "LunosTimeoutError",
    "Message",
    "Request",
    "Secret",
    "Stream",
    "StreamRequest",
    "ToolCall",
    "Usage",
    "UsageLedger",
    "chat_request",
    "chat_stream_request",
    "completion_request",
    "completion_stream_request",
    "embedding_request",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
