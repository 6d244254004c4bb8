"""Lunos for LangChain: models, embeddings, tools that draw and speak, and an audio parser.

Each name is loaded when it is first used, so an application imports only what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core import HOMES
from lunos_core.lazy import is_installed, lazy_names

if not is_installed("langchain_core"):
    raise ImportError(
        "langchain_lunos needs LangChain, which is not installed: "
        'pip install "lunos-integrations[langchain]"'
    )

if TYPE_CHECKING:
    from langchain_lunos.audio import LunosAudioTranscriber as LunosAudioTranscriber
    from langchain_lunos.audio import LunosSpeech as LunosSpeech
    from langchain_lunos.chat_models import ChatLunos as ChatLunos
    from langchain_lunos.embeddings import LunosEmbeddings as LunosEmbeddings
    from langchain_lunos.errors import LunosAPIError as LunosAPIError
    from langchain_lunos.errors import LunosAuthenticationError as LunosAuthenticationError
    from langchain_lunos.errors import LunosBadRequestError as LunosBadRequestError
    from langchain_lunos.errors import LunosBudgetError as LunosBudgetError
    from langchain_lunos.errors import LunosConfigError as LunosConfigError
    from langchain_lunos.errors import LunosConflictError as LunosConflictError
    from langchain_lunos.errors import LunosConnectionError as LunosConnectionError
    from langchain_lunos.errors import LunosContextOverflowError as LunosContextOverflowError
    from langchain_lunos.errors import LunosError as LunosError
    from langchain_lunos.errors import LunosNotFoundError as LunosNotFoundError
    from langchain_lunos.errors import LunosPaymentError as LunosPaymentError
    from langchain_lunos.errors import LunosPermissionError as LunosPermissionError
    from langchain_lunos.errors import LunosRateLimitError as LunosRateLimitError
    from langchain_lunos.errors import LunosRefusalError as LunosRefusalError
    from langchain_lunos.errors import LunosResponseError as LunosResponseError
    from langchain_lunos.errors import LunosServerError as LunosServerError
    from langchain_lunos.errors import LunosStreamInterruptedError as LunosStreamInterruptedError
    from langchain_lunos.errors import LunosTimeoutError as LunosTimeoutError
    from langchain_lunos.errors import LunosTruncatedError as LunosTruncatedError
    from langchain_lunos.images import LunosImageGeneration as LunosImageGeneration
    from langchain_lunos.llms import LunosLLM as LunosLLM
    from langchain_lunos.registration import register as register
    from langchain_lunos.tracing import langsmith_costs as langsmith_costs

_HOMES = {
    "audio": ("LunosAudioTranscriber", "LunosSpeech"),
    "chat_models": ("ChatLunos",),
    "embeddings": ("LunosEmbeddings",),
    "errors": (
        *(name for name in HOMES["errors"] if name.endswith("Error")),
        "LunosRefusalError",
        "LunosTruncatedError",
    ),
    "images": ("LunosImageGeneration",),
    "llms": ("LunosLLM",),
    "registration": ("register",),
    "tracing": ("langsmith_costs",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
