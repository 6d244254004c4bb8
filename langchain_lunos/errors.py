"""Errors with two parents: the core's error, and LangChain's.

`with_retry`, `with_fallbacks` and the agents' middleware look for LangChain's `ModelError` tree;
code that knows Lunos looks for the core's. Every call of this adapter raises the classes here.

```
lunos_core                     LangChain                     here
LunosBudgetError               ModelError                    LunosBudgetError
LunosConnectionError           ModelConnectionError          LunosConnectionError
LunosTimeoutError              ModelTimeoutError             LunosTimeoutError
LunosResponseError             ModelAPIError                 LunosResponseError
LunosStreamInterruptedError    ModelConnectionError          LunosStreamInterruptedError
LunosAPIError                  ModelError                    LunosAPIError
LunosBadRequestError           ModelInvalidRequestError      LunosBadRequestError
LunosContextOverflowError      ContextOverflowError          LunosContextOverflowError
LunosAuthenticationError       ModelAuthenticationError      LunosAuthenticationError
LunosPaymentError              ModelError                    LunosPaymentError
LunosPermissionError           ModelPermissionDeniedError    LunosPermissionError
LunosNotFoundError             ModelNotFoundError            LunosNotFoundError
LunosConflictError             ModelAPIError                 LunosConflictError
LunosRateLimitError            ModelRateLimitError           LunosRateLimitError
LunosServerError               ModelAPIError                 LunosServerError
(structured output)            ModelRefusalError             LunosRefusalError
(structured output)            OutputParserException         LunosTruncatedError
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import langchain_core.exceptions as framework
from langchain_core.exceptions import LangChainException, OutputParserException

from lunos_core import errors as core
from lunos_core.errors import ErrorFacts, ErrorMap, LunosConfigError, LunosError

__all__ = [
    "LANGCHAIN_ERRORS",
    "LunosConfigError",
    "LunosError",
    "LunosRefusalError",
    "LunosTruncatedError",
]

if TYPE_CHECKING:
    from langchain_core.exceptions import (
        ContextOverflowError,
        ModelAPIError,
        ModelAuthenticationError,
        ModelConnectionError,
        ModelError,
        ModelInvalidRequestError,
        ModelNotFoundError,
        ModelPermissionDeniedError,
        ModelRateLimitError,
        ModelRefusalError,
        ModelTimeoutError,
    )
else:

    def _known(name: str) -> type[Exception]:
        """Return LangChain's class, or its ancestor if the installed core is too old to have it."""
        return getattr(framework, name, LangChainException)

    ContextOverflowError = _known("ContextOverflowError")
    ModelAPIError = _known("ModelAPIError")
    ModelAuthenticationError = _known("ModelAuthenticationError")
    ModelConnectionError = _known("ModelConnectionError")
    ModelError = _known("ModelError")
    ModelInvalidRequestError = _known("ModelInvalidRequestError")
    ModelNotFoundError = _known("ModelNotFoundError")
    ModelPermissionDeniedError = _known("ModelPermissionDeniedError")
    ModelRateLimitError = _known("ModelRateLimitError")
    ModelRefusalError = _known("ModelRefusalError")  # langchain-core 1.7.5
    ModelTimeoutError = _known("ModelTimeoutError")


class LunosConnectionError(core.LunosConnectionError, ModelConnectionError):
    """No answer came: refused, dropped, DNS, TLS."""


class LunosTimeoutError(core.LunosTimeoutError, LunosConnectionError, ModelTimeoutError):
    """No answer came in time."""


class LunosResponseError(core.LunosResponseError, ModelAPIError):
    """The status was successful, but the answer makes no sense."""


class LunosStreamInterruptedError(
    core.LunosStreamInterruptedError, LunosResponseError, LunosConnectionError
):
    """A stream broke off; `partial` is an `AIMessage` with what had arrived."""


class LunosAPIError(core.LunosAPIError, ModelError):
    """The server answered with an error."""


class LunosBadRequestError(core.LunosBadRequestError, LunosAPIError, ModelInvalidRequestError):
    """The server refused the request (400, 422 and other 4xx)."""


class LunosContextOverflowError(
    core.LunosContextOverflowError, LunosBadRequestError, ContextOverflowError
):
    """The prompt is longer than the model's window."""


class LunosAuthenticationError(
    core.LunosAuthenticationError, LunosAPIError, ModelAuthenticationError
):
    """401: the key is missing or wrong."""


class LunosPaymentError(core.LunosPaymentError, LunosAPIError):
    """402: the account has no balance left; retrying doesn't help."""


class LunosBudgetError(core.LunosBudgetError, ModelError):
    """The budget of a `UsageLedger` is spent: nothing was sent."""


class LunosPermissionError(core.LunosPermissionError, LunosAPIError, ModelPermissionDeniedError):
    """403: this key may not do that."""


class LunosNotFoundError(core.LunosNotFoundError, LunosAPIError, ModelNotFoundError):
    """404: no such route or model."""


class LunosConflictError(core.LunosConflictError, LunosAPIError, ModelAPIError):
    """409: the request conflicts with another one."""

    is_retryable = True


class LunosRateLimitError(core.LunosRateLimitError, LunosAPIError, ModelRateLimitError):
    """429: too many requests; see `retry_after`."""

    is_retryable = True


class LunosServerError(core.LunosServerError, LunosAPIError, ModelAPIError):
    """The server failed (408, 425 or ≥ 500)."""

    is_retryable = True


class _AnswerError(ErrorFacts, OutputParserException):
    @property
    def message(self) -> str:
        """What went wrong, as in the other errors."""
        return str(self)


class LunosRefusalError(_AnswerError, ModelRefusalError):
    """The model refused a structured answer.

    Attributes:
        raw_message: the model's message, as far as it arrived.
        llm_output: the model's reason in its own words, or what it had written.
    """

    def __init__(
        self, message: str, *, llm_output: str | None = None, raw_message: Any = None
    ) -> None:
        OutputParserException.__init__(self, message, llm_output=llm_output)
        self.raw_message = raw_message


class LunosTruncatedError(_AnswerError):
    """The structured answer was cut off before its end."""


def _partial_message(completion: Any) -> Any:
    from langchain_lunos._results import to_message

    return to_message(completion, completion.choices[0]) if completion.choices else None


LANGCHAIN_ERRORS = ErrorMap(
    framework="langchain",
    types={
        core.LunosBudgetError: LunosBudgetError,
        core.LunosConnectionError: LunosConnectionError,
        core.LunosTimeoutError: LunosTimeoutError,
        core.LunosResponseError: LunosResponseError,
        core.LunosStreamInterruptedError: LunosStreamInterruptedError,
        core.LunosAPIError: LunosAPIError,
        core.LunosBadRequestError: LunosBadRequestError,
        core.LunosContextOverflowError: LunosContextOverflowError,
        core.LunosAuthenticationError: LunosAuthenticationError,
        core.LunosPaymentError: LunosPaymentError,
        core.LunosPermissionError: LunosPermissionError,
        core.LunosNotFoundError: LunosNotFoundError,
        core.LunosConflictError: LunosConflictError,
        core.LunosRateLimitError: LunosRateLimitError,
        core.LunosServerError: LunosServerError,
    },
    partial=_partial_message,
)
