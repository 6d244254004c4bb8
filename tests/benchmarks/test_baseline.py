"""What `make bench` says of the figures that landed last."""

from __future__ import annotations

from typing import Any

from benchmarks.baseline import ratios, worse


def results(*seconds: float) -> Any:
    plain = [{"quietest": 1.0} for _ in seconds]
    return {"call": {"httpx": plain, "Lunos": [{"quietest": value} for value in seconds]}}


def test_a_figure_is_the_median_ratio_with_its_spread() -> None:
    assert ratios(results(1.2, 1.3, 1.4)) == {"call: Lunos": {"ratio": 1.3, "spread": 0.1}}


def test_what_got_worse_beyond_the_noise_is_named() -> None:
    before = ratios(results(1.29, 1.3, 1.31))
    assert worse(ratios(results(1.30, 1.32, 1.33)), before) == []
    assert worse(ratios(results(1.0, 1.1, 1.2)), before) == []
    (line,) = worse(ratios(results(1.59, 1.6, 1.61)), before)
    assert line == "call: Lunos: 1.3 -> 1.6 times plain httpx"
    assert worse(ratios(results(1.0, 1.6, 2.2)), before) == []  # too noisy to say
