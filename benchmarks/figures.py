"""Figures from repetitions: medians, and medians of the ratios within each repetition."""

from __future__ import annotations

from statistics import median
from typing import Any

Results = dict[str, dict[str, list[dict[str, Any] | None]]]


class Figures:
    """Read the results of a run; `None` wherever something was not measured."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def value(self, measure: str, client: str, key: str) -> float | None:
        """Return the median of a figure."""
        found = [one[key] for one in self._answers(measure, client) if one and key in one]
        return median(found) if found else None

    def ratio(
        self, measure: str, client: str, base: str, key: str, base_key: str = ""
    ) -> float | None:
        """Return the median of the ratios of two clients, each within one repetition."""
        pairs = zip(self._answers(measure, client), self._answers(measure, base), strict=False)
        ratios = [
            one[key] / other[base_key or key]
            for one, other in pairs
            if one and other and key in one and other.get(base_key or key)
        ]
        return median(ratios) if ratios else None

    def growth(self, short: str, long: str, client: str, factor: float) -> float | None:
        """Return how much longer a chunk of the long stream takes than one of the short stream."""
        before = self.value(short, client, "seconds")
        after = self.value(long, client, "seconds")
        return None if not before or not after else after / before / factor

    def wrong(self, measure: str, client: str) -> str:
        """What was wrong with the answers; "" where nothing was."""
        for one in self._answers(measure, client):
            if one and "error" in one:
                return " ".join(str(one["error"]).split())[:100]
            if one and one.get("right") is False:
                return "wrong result"
        return ""

    def clients(self, measure: str) -> list[str]:
        """Return the clients that were measured."""
        return list(self._results.get(measure, {}))

    def _answers(self, measure: str, client: str) -> list[dict[str, Any] | None]:
        return self._results.get(measure, {}).get(client, [])
