"""The small HTTP core of `lunos-integrations`: the Lunos API, without a framework.

Start with `Lunos` or `AsyncLunos`; the adapters build requests and send them with `Client` and
`AsyncClient`. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core._version import __version__ as __version__

# not lazy: importing a submodule later would replace the function of the same name
from lunos_core.app_id import app as app
from lunos_core.app_id import current_app_id as current_app_id
from lunos_core.app_id import current_tags as current_tags
from lunos_core.app_id import tags as tags
from lunos_core.lazy import lazy_names

if TYPE_CHECKING:
    from lunos_core._plain_http import LunosPlainHTTPWarning as LunosPlainHTTPWarning
    from lunos_core.accounting.budgets import Budget as Budget
    from lunos_core.accounting.budgets import LunosCostWarning as LunosCostWarning
    from lunos_core.accounting.budgets import RateLimit as RateLimit
    from lunos_core.accounting.ledger import UsageLedger as UsageLedger
    from lunos_core.accounting.observers import CallRecord as CallRecord
    from lunos_core.accounting.pace import SharedPace as SharedPace
    from lunos_core.accounting.store import UsageStore as UsageStore
    from lunos_core.accounting.usage import Usage as Usage
    from lunos_core.catalog.catalog import AsyncCatalog as AsyncCatalog
    from lunos_core.catalog.catalog import Catalog as Catalog
    from lunos_core.catalog.models import ModelInfo as ModelInfo
    from lunos_core.catalog.models import models_request as models_request
    from lunos_core.config import Config as Config
    from lunos_core.config import Secret as Secret
    from lunos_core.endpoints.audio import Transcription as Transcription
    from lunos_core.endpoints.audio import transcription_request as transcription_request
    from lunos_core.endpoints.balance import Balance as Balance
    from lunos_core.endpoints.balance import balance_request as balance_request
    from lunos_core.endpoints.chat.images import image_chat_request as image_chat_request
    from lunos_core.endpoints.chat.requests import chat_request as chat_request
    from lunos_core.endpoints.chat.requests import chat_stream_request as chat_stream_request
    from lunos_core.endpoints.chat.requests import completion_request as completion_request
    from lunos_core.endpoints.chat.requests import (
        completion_stream_request as completion_stream_request,
    )
    from lunos_core.endpoints.chat.types import Chunk as Chunk
    from lunos_core.endpoints.chat.types import Completion as Completion
    from lunos_core.endpoints.chat.types import Message as Message
    from lunos_core.endpoints.chat.types import ToolCall as ToolCall
    from lunos_core.endpoints.embedding_arrays import EmbeddingArray as EmbeddingArray
    from lunos_core.endpoints.embedding_arrays import (
        embedding_array_request as embedding_array_request,
    )
    from lunos_core.endpoints.embeddings import Embeddings as Embeddings
    from lunos_core.endpoints.embeddings import embedding_request as embedding_request
    from lunos_core.endpoints.images import GeneratedImage as GeneratedImage
    from lunos_core.endpoints.images import Images as Images
    from lunos_core.endpoints.images import image_request as image_request
    from lunos_core.endpoints.server_tools import WebSearch as WebSearch
    from lunos_core.endpoints.speech import Speech as Speech
    from lunos_core.endpoints.speech import speech_request as speech_request
    from lunos_core.endpoints.speech import speech_stream_request as speech_stream_request
    from lunos_core.endpoints.video import VideoJob as VideoJob
    from lunos_core.endpoints.video import video_request as video_request
    from lunos_core.endpoints.video import video_status_request as video_status_request
    from lunos_core.errors import LunosAPIError as LunosAPIError
    from lunos_core.errors import LunosAuthenticationError as LunosAuthenticationError
    from lunos_core.errors import LunosBadRequestError as LunosBadRequestError
    from lunos_core.errors import LunosBudgetError as LunosBudgetError
    from lunos_core.errors import LunosConfigError as LunosConfigError
    from lunos_core.errors import LunosConflictError as LunosConflictError
    from lunos_core.errors import LunosConnectionError as LunosConnectionError
    from lunos_core.errors import LunosContextOverflowError as LunosContextOverflowError
    from lunos_core.errors import LunosError as LunosError
    from lunos_core.errors import LunosNotFoundError as LunosNotFoundError
    from lunos_core.errors import LunosPaymentError as LunosPaymentError
    from lunos_core.errors import LunosPermissionError as LunosPermissionError
    from lunos_core.errors import LunosRateLimitError as LunosRateLimitError
    from lunos_core.errors import LunosResponseError as LunosResponseError
    from lunos_core.errors import LunosServerError as LunosServerError
    from lunos_core.errors import LunosStreamInterruptedError as LunosStreamInterruptedError
    from lunos_core.errors import LunosTimeoutError as LunosTimeoutError
    from lunos_core.request import Request as Request
    from lunos_core.request import StreamRequest as StreamRequest
    from lunos_core.sdk.clients import AsyncLunos as AsyncLunos
    from lunos_core.sdk.clients import Lunos as Lunos
    from lunos_core.transport.client import AsyncClient as AsyncClient
    from lunos_core.transport.client import Client as Client
    from lunos_core.transport.streams import AsyncStream as AsyncStream
    from lunos_core.transport.streams import Stream as Stream

HOMES = {
    "_plain_http": ("LunosPlainHTTPWarning",),
    "endpoints.chat.types": ("Chunk", "Completion", "Message", "ToolCall"),
    "app_id": ("app", "current_app_id", "current_tags", "tags"),
    "endpoints.audio": ("Transcription", "transcription_request"),
    "endpoints.balance": ("Balance", "balance_request"),
    "catalog.catalog": ("AsyncCatalog", "Catalog"),
    "endpoints.chat.requests": (
        "chat_request",
        "chat_stream_request",
        "completion_request",
        "completion_stream_request",
    ),
    "transport.client": ("AsyncClient", "Client"),
    "config": ("Config", "Secret"),
    "endpoints.embedding_arrays": ("EmbeddingArray", "embedding_array_request"),
    "endpoints.embeddings": ("Embeddings", "embedding_request"),
    "errors": (
        "LunosAPIError",
        "LunosAuthenticationError",
        "LunosBadRequestError",
        "LunosBudgetError",
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
    "endpoints.images": ("GeneratedImage", "Images", "image_request"),
    "accounting.budgets": ("Budget", "LunosCostWarning", "RateLimit"),
    "accounting.ledger": ("CallRecord", "UsageLedger"),
    "accounting.pace": ("SharedPace",),
    "accounting.store": ("UsageStore",),
    "catalog.models": ("ModelInfo", "models_request"),
    "request": ("Request", "StreamRequest"),
    "endpoints.chat.images": ("image_chat_request",),
    "endpoints.server_tools": ("WebSearch",),
    "endpoints.video": ("VideoJob", "video_request", "video_status_request"),
    "endpoints.speech": ("Speech", "speech_request", "speech_stream_request"),
    "sdk.clients": ("AsyncLunos", "Lunos"),
    "transport.streams": ("AsyncStream", "Stream"),
    "accounting.usage": ("Usage",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, HOMES)
