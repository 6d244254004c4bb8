"""Numbers and flags as servers write them: as such or as text."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

_LONGEST_NUMBER = 40
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def flag_of(value: Any) -> bool | None:
    """Read a flag: `true`, 1, "1" or "true", or their opposites; `None` for anything else.

    Example:
        >>> from lunos_core.wire.scalars import flag_of
        >>> flag_of(1), flag_of("False"), flag_of(None)
        (True, False, None)
    """
    if isinstance(value, bool | int | str):
        return _FLAGS.get(str(value).strip().lower())
    return None


def decimal_of(value: Any) -> Decimal | None:
    """Read a finite number exactly, even if it is text; `None` for anything else.

    Example:
        >>> from lunos_core.wire.scalars import decimal_of
        >>> decimal_of(0.1), decimal_of("$1,234.50"), decimal_of("NaN")
        (Decimal('0.1'), Decimal('1234.50'), None)
    """
    if not isinstance(value, int | float | str):
        return None
    try:
        # a float's shortest text is the number that the server wrote
        text = str(value).strip()
        if isinstance(value, str):
            text = text.removeprefix("$").removesuffix("USD").strip()
            text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
        number = Decimal(text) if len(text) <= _LONGEST_NUMBER else None
    except (InvalidOperation, ValueError):
        return None
    return number if number is not None and number.is_finite() else None
