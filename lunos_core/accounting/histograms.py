"""Durations of calls for SQLite: in buckets that are 4 % wide, or packed unchanged."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Sequence
from typing import Any

_WIDTH = math.log(1.04)
_SHORTEST = 1e-6
_PAIR = struct.Struct("<HI")  # a bucket and its count


class _Collected:
    """The arguments of an SQL aggregate function: seconds, or its earlier results."""

    __slots__ = ("_values", "step")

    def __init__(self) -> None:
        self._values: list[Any] = []
        self.step = self._values.append  # called for a million rows


class _Histogram(_Collected):
    def finalize(self) -> Any:
        counts: dict[int, int] = {}
        for value in self._values:
            if type(value) is bytes:
                for bucket, count in _PAIR.iter_unpack(value):
                    counts[bucket] = counts.get(bucket, 0) + count
            elif value is not None:
                bucket = math.floor(math.log(max(value, _SHORTEST) / _SHORTEST) / _WIDTH)
                counts[bucket] = counts.get(bucket, 0) + 1
        return b"".join([_PAIR.pack(*pair) for pair in sorted(counts.items())])


class _Packed(_Collected):
    """Packs seconds unchanged in 8 bytes each, unordered, and joins packed ones."""

    def finalize(self) -> Any:
        seconds = [value for value in self._values if type(value) is float]
        packed = [value for value in self._values if type(value) is bytes]
        return b"".join([struct.pack(f"<{len(seconds)}d", *seconds), *packed])


def sorted_times(packed: bytes) -> list[float]:
    """Return the seconds in a result of SQL's `packed`, in order."""
    return sorted(struct.unpack(f"<{len(packed) // 8}d", packed))


def _merged(left: bytes, right: bytes) -> Any:
    histogram = _Histogram()
    histogram.step(left)
    histogram.step(right)
    return histogram.finalize()


def add_functions(connection: sqlite3.Connection) -> None:
    """Add the aggregate functions `histogram` and `packed`, and `merged` of two histograms."""
    connection.create_aggregate("histogram", 1, _Histogram)
    connection.create_aggregate("packed", 1, _Packed)
    connection.create_function("merged", 2, _merged, deterministic=True)


def counts_of(histogram: bytes) -> list[tuple[float, int]]:
    """Return the middle of each bucket in seconds, and its count."""
    return [
        (_SHORTEST * math.exp((bucket + 0.5) * _WIDTH), count)
        for bucket, count in _PAIR.iter_unpack(histogram)
    ]


def percentile(times: Sequence[Any], percent: int) -> float | None:
    """Return the nearest rank among sorted values, or `None` if there are none.

    Args:
        times: seconds, or pairs of seconds and their count.
        percent: 1 to 100.

    Example:
        >>> from lunos_core.accounting.histograms import percentile
        >>> percentile([0.1, 0.1, 0.5], 50), percentile([(0.1, 3), (0.5, 1)], 95)
        (0.1, 0.5)
    """
    is_counted = bool(times) and isinstance(times[0], tuple)
    total = sum(count for _, count in times) if is_counted else len(times)
    rank = -(-total * percent // 100)
    if not is_counted:
        return times[rank - 1] if times else None
    for value, count in times:
        rank -= count
        if rank <= 0:
            return float(value)
    return None
