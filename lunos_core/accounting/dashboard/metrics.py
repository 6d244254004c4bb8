"""A usage store in the text format of Prometheus.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lunos_core.accounting.dashboard.facts import budget_bars
from lunos_core.accounting.report import visible

if TYPE_CHECKING:
    from lunos_core.accounting.store import UsageStore

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("app", "model", "endpoint")
Row = Mapping[str, Any]
Value = Callable[[Row], float | None]

# name, type, help, further labels and the value of each line
_METRICS: tuple[tuple[str, str, str, tuple[tuple[dict[str, str], Value], ...]], ...] = (
    ("lunos_calls_total", "counter", "Calls that were sent.", (({}, lambda r: r["calls"]),)),
    ("lunos_errors_total", "counter", "Calls that failed.", (({}, lambda r: r["errors"]),)),
    ("lunos_retries_total", "counter", "Requests sent again.", (({}, lambda r: r["retries"]),)),
    (
        *("lunos_tokens_total", "counter", "Tokens of prompts and answers."),
        (
            ({"type": "input"}, lambda r: r["input_tokens"]),
            ({"type": "output"}, lambda r: r["output_tokens"]),
        ),
    ),
    ("lunos_cost_usd_total", "counter", "What is known of the cost.", (({}, lambda r: r["cost"]),)),
    (
        *("lunos_call_seconds", "gauge", "Seconds to the end of a call, all calls of the store."),
        (
            ({"quantile": "0.5"}, lambda r: r["p50_seconds"]),
            ({"quantile": "0.95"}, lambda r: r["p95_seconds"]),
            ({"quantile": "0.99"}, lambda r: r["p99_seconds"]),
        ),
    ),
    (
        *("lunos_first_token_seconds", "gauge", "Seconds to the first token of a stream."),
        (({"quantile": "0.5"}, lambda r: r["first_token_p50_seconds"]),),
    ),
)


def metrics_of(store: UsageStore) -> str:
    """Return counters of all calls in a store, by app, model and endpoint, and its budgets.

    A counter restarts when `prune` deletes calls, which Prometheus allows.

    Raises:
        LunosConfigError: the store can't be read.
    """
    rows = store.summary(_LABELS)
    lines: list[str] = []
    for name, kind, text, values in _METRICS:
        lines += _head(name, kind, text)
        for row in rows:
            labels = {label: row[label] for label in _LABELS}
            for more, value in values:
                number = value(row)
                if number is not None:
                    lines.append(_line(name, {**labels, **more}, number))
    with store.database.reading() as connection:
        bars = budget_bars(connection, store.clock())
    for name, text, key in (
        ("lunos_budget_usd", "Budgets of ledgers that were active lately.", "limit"),
        ("lunos_budget_spent_usd", "What is spent of them in their window.", "spent"),
    ):
        lines += _head(name, "gauge", text)
        for bar in bars:
            lines.append(_line(name, {"of": bar["of"], "per": bar["per"] or ""}, bar[key]))
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> Iterable[str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {float(value)!r}"


def _escaped(text: str) -> str:
    # control characters first, so that an app id can't end a line
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')
