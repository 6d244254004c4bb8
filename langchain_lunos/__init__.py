"""Lunos for LangChain: `ChatLunos`, `LunosLLM` and `LunosEmbeddings`.

Names are loaded when they are first used, so that an application pays for what it asks for.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if importlib.util.find_spec("langchain_core") is None:
    raise ImportError(
        "langchain_lunos needs LangChain, which is not installed: "
        'pip install "lunos-integrations[langchain]"'
    )

if TYPE_CHECKING:
    from langchain_lunos.chat_models import ChatLunos
    from langchain_lunos.embeddings import LunosEmbeddings
    from langchain_lunos.errors import (
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
        LunosRefusalError,
        LunosResponseError,
        LunosServerError,
        LunosStreamInterruptedError,
        LunosTimeoutError,
        LunosTruncatedError,
    )
    from langchain_lunos.llms import LunosLLM
    from langchain_lunos.registration import register

_HOMES = {
    "chat_models": ("ChatLunos",),
    "embeddings": ("LunosEmbeddings",),
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
        "LunosRefusalError",
        "LunosResponseError",
        "LunosServerError",
        "LunosStreamInterruptedError",
        "LunosTimeoutError",
        "LunosTruncatedError",
    ),
    "llms": ("LunosLLM",),
    "registration": ("register",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ChatLunos",
    "LunosAPIError",
    "LunosAuthenticationError",
    "LunosBadRequestError",
    "LunosConfigError",
    "LunosConflictError",
    "LunosConnectionError",
    "LunosContextOverflowError",
    "LunosEmbeddings",
    "LunosError",
    "LunosLLM",
    "LunosNotFoundError",
    "LunosPaymentError",
    "LunosPermissionError",
    "LunosRateLimitError",
    "LunosRefusalError",
    "LunosResponseError",
    "LunosServerError",
    "LunosStreamInterruptedError",
    "LunosTimeoutError",
    "LunosTruncatedError",
    "register",
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
