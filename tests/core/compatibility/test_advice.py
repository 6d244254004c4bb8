"""What an error says to a person in front of a terminal: one line, with what to look at."""

from __future__ import annotations

import pytest

from lunos_core import (
    LunosAuthenticationError,
    LunosBadRequestError,
    LunosConfigError,
    LunosConnectionError,
    LunosNotFoundError,
    LunosResponseError,
    LunosTimeoutError,
)
from lunos_core.compatibility.advice import one_line

URL = "https://h.test/v1"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a\n  b\x1b[31m"), "a b\\x1b[31m"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (LunosConfigError("no key"), "no key"),
        (LunosBadRequestError("too long"), "too long"),
        (LunosConnectionError("refused"), f"nothing answers at {URL} (LUNOS_BASE_URL): refused"),
        (LunosTimeoutError("late"), f"nothing answers at {URL} (LUNOS_BASE_URL): late"),
        (LunosAuthenticationError("no"), f"{URL} refuses the key (LUNOS_API_KEY): no"),
        (LunosResponseError("a page"), f"is {URL} (LUNOS_BASE_URL) a Lunos gateway? a page"),
        (LunosNotFoundError("?"), f"is {URL} (LUNOS_BASE_URL) a Lunos gateway? ?"),
        (LunosNotFoundError("no such", code="model_not_found"), "no such"),
        (LunosResponseError("x", code="model_x"), "x"),
    ],
)
def test_an_error_is_one_line_with_what_to_look_at(
    error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", URL)
    assert one_line(error).split(" (code")[0] == said
