"""Draw the results: calls, chunks, and the cost of a call when many are in flight.

`python -m benchmarks.picture results.json` draws again, in an interpreter that has matplotlib.
"""

# ruff: noqa: RUF001 - the multiplication sign is meant

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, Results
from benchmarks.peers import BY_NAME

_OURS, _PLAIN, _PEER = "#1b7f5c", "#8a8a8a", "#c8743c"
_LEFT_OUT = ("+ledger", "floor")  # not clients that a user could choose


def draw(results: Results, to: Path) -> bool:
    """Draw to a file; return `False` if matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figures = Figures(results)
    picture, axes = plt.subplots(1, 3, figsize=(15, 4.8))
    _bars(axes[0], figures, "call", "quietest", "one call, × plain httpx")
    _bars(axes[1], figures, "stream 2000", "seconds", "one chunk of a stream, × plain httpx")
    _bars(axes[2], figures, "concurrent 100", "cpu", "CPU of a call, 100 at once, × plain httpx")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    picture.suptitle("The client's own share, on loopback (shorter is better)")
    picture.tight_layout()
    picture.savefig(to, dpi=110)
    return True


def _bars(axis: Any, figures: Figures, measure: str, key: str, title: str) -> None:
    ratios = {
        name: figures.ratio(measure, name, "httpx", key)
        for name in figures.clients(measure)
        if not any(word in name for word in _LEFT_OUT)
    }
    known = sorted(((ratio, name) for name, ratio in ratios.items() if ratio), reverse=True)
    lengths = [ratio for ratio, _ in known]
    names = [name for _, name in known]
    bars = axis.barh(names, lengths, color=[_colour(name) for name in names])
    axis.bar_label(bars, [f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}" for ratio in lengths],
                   padding=3)  # fmt: skip
    axis.set_xscale("log")
    least = min(0.5, min(lengths, default=1) / 2)
    axis.set_xlim(least, max(lengths, default=1) * 2)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50) if tick <= max(lengths, default=1) * 2]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_title(title, loc="left", fontsize=11)


def _colour(name: str) -> str:
    if BY_NAME[name].ours:
        return _OURS
    return _PLAIN if "httpx" in name else _PEER


def main() -> None:
    """Draw a file of results again."""
    source = Path(sys.argv[1])
    results = json.loads(source.read_text())["results"]
    if not draw(results, source.with_suffix(".png")):
        sys.exit("no matplotlib in this interpreter: pip install matplotlib")


if __name__ == "__main__":
    main()
