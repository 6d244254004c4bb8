"""`lunos bulk`: embed a corpus, or extract from it, with many requests at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import reduce
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lunos_cli import output
from lunos_core import Config, LunosConfigError
from lunos_core.accounting.schema import dollars

if TYPE_CHECKING:
    from lunos_bulk.state import State

DEAD_LETTERS, STOPPED = 3, 4
_NUMBER, _LONG = click.IntRange(1), click.Choice(["refuse", "cut"])
_PER = click.Choice(["hour", "day", "week", "month"])
_OPTIONS = (
    click.argument("source", metavar="INPUT"),
    click.argument("target", metavar="OUTPUT", type=click.Path(file_okay=False, path_type=Path)),
    output.APP_ID,
    click.option("--keep", multiple=True, help="A column to write along; may be repeated."),
    click.option("--on-long", type=_LONG, default="refuse", help="If a text is too long."),
    click.option(
        "--most-tokens", type=_NUMBER, default=8191, help="Most tokens in a text, by estimate."
    ),
    click.option("--in-flight", type=_NUMBER, default=32, help="Concurrent requests per worker."),
    click.option("--workers", type=_NUMBER, default=1, help="Worker processes."),
    click.option("--rpm", type=float, help="Requests per minute, all workers together."),
    click.option("--tpm", type=float, help="Tokens per minute, all workers together."),
    click.option("--budget", help="USD; the job stops when it is spent."),
    click.option("--per", type=_PER, help="The budget's window."),
    click.option("--block", type=click.IntRange(1, 30_000), default=1024, help="Rows per file."),
    click.option("--dry-run", is_flag=True, help="Count tokens and cost; pay nothing."),
    click.option("--retry-dead", is_flag=True, help="Ask again what failed, and nothing else."),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return reduce(lambda inner, option: option(inner), reversed(_OPTIONS), command)


@click.group()
def bulk() -> None:
    """Embed millions of texts, or extract from them.

    What is paid is kept, and the same command goes on after any end.

    INPUT is a file, a folder or a pattern, at any address that fsspec knows: Parquet, JSON lines,
    CSV or text. OUTPUT is a folder on this machine: Parquet files, and _dead for what failed.
    Exit codes: 3 with dead letters, 4 when the job stopped (the budget is spent, say).
    """
    needed = ("pyarrow", "fsspec", "numpy")
    output.need("bulk work", *needed, install='"lunos-integrations[bulk]"')


@bulk.command()
@click.option("-m", "--model", default="openai/text-embedding-3-small")
@click.option("--column", default="text", help="The column of texts.")
@click.option("--dimensions", type=_NUMBER, help="The length of a vector.")
@click.option(
    "--batch-tokens", type=_NUMBER, default=8192, help="Most tokens in a request, by estimate."
)
@_with_options
def embed(dimensions: int | None, **options: Any) -> None:
    """Embed the texts of INPUT: OUTPUT has "id" and "vector", float32."""
    _run(params={} if dimensions is None else {"dimensions": dimensions}, **options)


@bulk.command()
@output.MODEL
@click.option(
    "--prompt", required=True, type=output.TEXT, help="What to ask; {text} is that column of a row."
)
@output.SCHEMA
@click.option("--max-tokens", type=_NUMBER, help="Most tokens an answer may have.")
@_with_options
def extract(max_tokens: int | None, **options: Any) -> None:
    """Ask the model about each row of INPUT: OUTPUT has "id" and "answer", JSON that is valid."""
    params = {} if max_tokens is None else {"max_tokens": max_tokens}
    _run(params=params, **options)


def _run(
    source: str,
    target: Path,
    *,
    keep: tuple[str, ...],
    workers: int,
    block: int,
    dry_run: bool,
    retry_dead: bool,
    **settings: Any,
) -> None:
    from lunos_bulk.job import Job
    from lunos_bulk.state import State
    from lunos_cli.bulk.files import Files
    from lunos_cli.bulk.inputs import pieces_of

    if settings["per"] and settings["budget"] is None:
        raise LunosConfigError("--per is the window of --budget: give both")
    if target.resolve().is_relative_to(Path(source).resolve()):
        raise LunosConfigError('OUTPUT may not be INPUT, or in it ("" is this folder)')
    job = Job(state=str(target / "_lunos"), **settings)
    files = Files(job, target, keep, block, retry_dead)
    pieces = pieces_of(source, lambda there: job.check_columns(there, *keep))
    if dry_run:
        _estimate(job, pieces)
        return
    _ = Config.from_env().key  # a missing one raises here
    state = State(job.state)
    with state.store, _Progress(state, sum(piece.size for piece in pieces)) as progress:
        stopped = files.run(pieces, workers)
        progress.look()
    dead = files.dead()
    letters = output.counted(dead, "dead letter") + (f" in {target}/_dead" if dead else "")
    output.note(f"{progress.text}; {letters}")
    if stopped:
        output.note(f"stopped: {stopped}; the same command goes on from here")
    raise SystemExit(STOPPED if stopped else DEAD_LETTERS if dead else 0)


class _Progress(Progress):
    """Shows rows, rows per second, cost and time left; `text` is the last."""

    def __init__(self, state: State, size: int) -> None:
        self.text, self._requests, self._cost = "", 0, Decimal(0)
        self._state, self._size, self._began = state, size, time.monotonic()
        (self._last,) = state.execute("SELECT COALESCE(MAX(id), 0) FROM calls")[0]
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        console = Console(stderr=True)
        settings: Any = {"console": console, "transient": True, "refresh_per_second": 2}
        super().__init__(*columns, **settings, disable=not console.is_terminal)
        self.add_task("", total=size or None)

    def get_renderables(self) -> Iterable[RenderableType]:
        self.look()
        return super().get_renderables()

    def look(self) -> None:
        state = self._state
        sql = "SELECT MAX(id), COUNT(*) + SUM(retries), SUM(cost) FROM calls WHERE id > ? AND {}"
        ((last, requests, cost),) = state.execute(sql.format("status != 'refused'"), self._last)
        if last is not None:
            self._last, self._requests = last, self._requests + requests
            self._cost += dollars(cost or 0)
        sql = "SELECT TOTAL(rows), TOTAL(size), TOTAL(rows * new) FROM blocks WHERE run = ?"
        rows, size, new = map(int, state.execute(sql, state.fact("run"))[0])
        speed = new / (time.monotonic() - self._began)
        done, requests = output.counted(rows, "row"), output.counted(self._requests, "request")
        self.text = f"{done}, {speed:,.0f} rows/s, {requests}, {self._cost:.6f} USD"
        for task in self.task_ids:  # none yet while the bar is made
            self.update(task, description=self.text, completed=min(size, self._size))


def _estimate(job: Any, pieces: Any) -> None:
    from lunos_bulk.state import State
    from lunos_cli.bulk.inputs import rows_of
    from lunos_core.accounting.token_estimate import estimate_tokens

    rows = dead = texts = tokens = 0
    with TemporaryDirectory() as folder, (seen := State(folder)).store:
        for row in chain.from_iterable(map(rows_of, pieces)):
            rows += 1
            try:
                text = job.text_of(row)
            except ValueError:
                dead += 1
                continue
            if seen.claim([job.key_of(text)])[0]:
                texts, tokens = texts + 1, tokens + estimate_tokens(text)
    with output.client(job.app_id) as lunos:
        known = lunos.models.get(job.model)
    cost = None if known is None or known.input_price is None else known.input_price * tokens
    click.echo(
        f"{output.counted(rows, 'row')}, {dead:,} of them can't be sent; "
        f"{output.counted(texts, 'text')}, about {output.counted(tokens, 'token')}, "
        f"{output.usd(None if cost is None else Decimal(cost))}"
        + (" without the answers" if job.prompt else "")
    )
