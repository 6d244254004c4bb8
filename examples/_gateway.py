"""Connects the examples to the live service, or to a local gateway that it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lunos_core import LunosConfigError, LunosConnectionError, LunosError, UsageLedger
from lunos_core.config import Config


@dataclass(frozen=True)
class Connection:
    """What the adapters need: `ChatLunos(base_url=..., api_key=...)`."""

    base_url: str
    api_key: str
    live: bool  # False: the local gateway, started here


@contextmanager
def connect() -> Iterator[Connection]:
    """Connect to the service with `LUNOS_API_KEY`, else to a local gateway while this is open.

    Raises:
        LunosConfigError: a base URL without a key, or the local gateway isn't installed.
        LunosConnectionError: raised in the block, with the base URL added to its text.
    """
    config = Config.from_env()
    if config.api_key is not None:
        try:
            yield Connection(config.base_url, config.key, live=True)
        except LunosConnectionError as error:
            raise LunosConnectionError(f"no answer from {config.base_url}: {error}") from error
        return
    if os.environ.get("LUNOS_BASE_URL"):
        raise LunosConfigError(
            "LUNOS_BASE_URL is set and LUNOS_API_KEY is not: set both or neither"
        )
    try:
        from lunos_local import LocalGateway
    except ImportError as error:
        raise LunosConfigError(f"no LUNOS_API_KEY, and no local gateway: {error}") from error
    with LocalGateway(real_models=True) as local:
        yield Connection(local.base_url, local.api_key, live=False)


def table_by_app(ledger: UsageLedger) -> str:
    """Return calls, tokens and cost of each app, as text that fits 80 columns."""
    sums: dict[str, list[float]] = {}
    for row in ledger.rows():
        numbers = (row["calls"], row["input_tokens"] + row["output_tokens"], row["cost"] or 0)
        for name in (row["app_id"], "total"):
            sums[name] = [x + y for x, y in zip(sums.get(name, [0, 0, 0]), numbers, strict=True)]
    total = sums.pop("total", [0, 0, 0])
    lines = [f"{'app':<24}{'calls':>8}{'tokens':>10}{'cost in USD':>14}"]
    for name, (calls, tokens, cost) in [*sums.items(), ("total", total)]:
        lines.append(f"{name:<24}{calls:>8}{tokens:>10}{cost:>14.6f}")
    return "\n".join(lines)


def run(main: Callable[[], object]) -> None:
    """Run an example; an error is one line on stderr and the exit code 1."""
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except (LunosError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {' '.join(str(error).split())}")
