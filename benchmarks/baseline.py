"""Compare a run with the figures that landed last: `benchmarks/baseline.json`.

A figure is the ratio to plain httpx within one run, with its spread: the half of the range from the
lower to the upper quartile over the repetitions. It got worse if it is above the kept one by more
than both spreads together, and by more than five percent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.figures import Results
from benchmarks.measures import MEASURES

PATH = Path(__file__).with_name("baseline.json")
OURS = ("ChatLunos", "Lunos", "ChatLunos+aiohttp", "Lunos+aiohttp")
_NOISE = 0.05
Ratios = dict[str, dict[str, float]]


def ratios(results: Results) -> Ratios:
    """Return ratio and spread of each of our clients in each measure: {"call: Lunos": …}."""
    found: Ratios = {}
    for measure in MEASURES:
        clients = results.get(measure.name, {})
        plain = clients.get("httpx", [])
        for name in OURS:
            each = [
                ours[measure.value] / base[measure.value]
                for ours, base in zip(clients.get(name, []), plain, strict=False)
                if ours and base and measure.value in ours and base.get(measure.value)
            ]
            if each:
                low, _, high = quantiles(each, n=4) if len(each) > 1 else (each[0],) * 3
                found[f"{measure.name}: {name}"] = {
                    "ratio": round(median(each), 3),
                    "spread": round((high - low) / 2, 3),
                }
    return found


def worse(now: Ratios, before: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line for each figure that got worse beyond the noise."""
    lines = []
    for name, figure in now.items():
        old = before.get(name)
        if old is None:
            continue
        more = figure["ratio"] - old["ratio"]
        if more > max(figure["spread"] + old["spread"], _NOISE * old["ratio"]):
            lines.append(f"{name}: {old['ratio']:g} -> {figure['ratio']:g} times plain httpx")
    return lines


def compare(results: Results) -> str:
    """Return what got worse since the kept figures, as text to print."""
    if not PATH.exists():
        return "no benchmarks/baseline.json: --keep-baseline writes it"
    before: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    lines = worse(ratios(results), before["ratios"])
    return "\n".join(
        ["worse than the baseline:", *lines] if lines else ["no worse than the baseline"]
    )


def keep(results: Results, about: Mapping[str, Any]) -> None:
    """Keep these figures as the baseline; those that were not measured stay."""
    before = json.loads(PATH.read_text("utf-8"))["ratios"] if PATH.exists() else {}
    kept = {"about": dict(about), "ratios": before | ratios(results)}
    PATH.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
