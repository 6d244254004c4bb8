"""Explanations of errors, for the settings of a deployment."""

from __future__ import annotations

from lunos_core.accounting.report import JOINERS, visible
from lunos_core.config import Config
from lunos_core.errors import (
    LunosAuthenticationError,
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosNotFoundError,
    LunosResponseError,
)


def one_line(error: BaseException) -> str:
    """Return the problem and the setting to check, in one line that is safe for a terminal.

    Args:
        error: of a call with the environment's settings, or any other.

    Example:
        >>> from lunos_core import LunosAuthenticationError
        >>> from lunos_core.compatibility.advice import one_line
        >>> one_line(LunosAuthenticationError("no such key")).partition(" ")[2]
        'refuses the key (LUNOS_API_KEY): no such key'
    """
    said = str(error)
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 2]"
        named = "" if error.filename is None else f"{str(error.filename)!r}: "
        said = named + error.strerror
    elif isinstance(error, UnicodeDecodeError):
        said = "the input isn't text in UTF-8"
    text = visible(" ".join(said.split()), keep=JOINERS) or type(error).__name__
    if not isinstance(error, LunosError) or isinstance(error, LunosConfigError):
        return text
    url = Config.from_env().base_url
    if isinstance(error, LunosConnectionError):
        return text if error.status else f"nothing answers at {url} (LUNOS_BASE_URL): {text}"
    if isinstance(error, LunosAuthenticationError):
        return f"{url} refuses the key (LUNOS_API_KEY): {text}"
    is_about_a_model = "model" in f"{getattr(error, 'code', '')}"
    if isinstance(error, LunosResponseError | LunosNotFoundError) and not is_about_a_model:
        return f"is {url} (LUNOS_BASE_URL) a Lunos gateway? {text}"
    return text
