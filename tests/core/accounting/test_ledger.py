"""`UsageLedger`: what is counted, once, and how it is shown, written and limited."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncClient,
    AsyncLunos,
    CallRecord,
    Client,
    Config,
    Lunos,
    LunosBudgetError,
    LunosServerError,
    RateLimit,
    Usage,
    UsageLedger,
    chat_request,
    chat_stream_request,
    image_request,
    models_request,
)
from lunos_core.accounting.observers import _everywhere
from lunos_core.accounting.report import read_file
from lunos_core.accounting.totals import COLUMNS
from tests.core.forked import passes_in_a_forked_child
from tests.core.wire_samples import HELLO, Wire, delta, raw, reply, stream

if TYPE_CHECKING:
    from tests.conftest import Both

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "cost": 0.1,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
ANSWER = reply(
    {
        "id": "gen-1",
        "model": "m",
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
)
STREAMED = stream([delta("Hi"), delta("", "stop"), {"choices": [], "usage": USAGE}, "[DONE]"])
ASK = chat_request(HELLO, model="m", app_id="a")
ASK_STREAM = chat_stream_request(HELLO, model="m", app_id="a")


async def test_a_row_has_exactly_the_promised_columns_and_adds_up(both: Both) -> None:
    failing = reply({"error": {"message": "No"}}, 500, retry_after="0")
    client = both.client(Wire(failing, ANSWER, STREAMED, failing), max_retries=1)
    with UsageLedger() as ledger:
        await both(client.send(ASK))
        await both.chunks(client, ASK_STREAM)
        with pytest.raises(LunosServerError):
            await both(client.send(ASK))
    (row,) = ledger.rows()
    assert tuple(row) == COLUMNS == (
        "app_id", "model", "endpoint", "calls", "errors", "retries", "input_tokens",
        "output_tokens", "cached_tokens", "reasoning_tokens", "cost", "seconds",
        "first_token_seconds",
    )  # fmt: skip
    assert list(row.values())[:10] == ["a", "m", "/chat/completions", 3, 1, 2, 18, 6, 8, 4]
    assert row["cost"] == 0.2  # not 0.2000…04: sums of money are exact
    assert row["seconds"] > row["first_token_seconds"] > 0


async def test_a_ledger_attached_twice_counts_once(both: Both) -> None:
    ledger = UsageLedger()
    client = both.client(Wire(ANSWER), observers=[ledger.record])
    ledger.start()
    try:
        with ledger:
            await both(client.send(ASK))
    finally:
        ledger.stop()
    await both(client.send(ASK))  # attached still
    assert [row["calls"] for row in ledger.rows()] == [2]


@pytest.mark.parametrize("ways", [("client", "process"), ("client", "here"), ("process", "here")])
async def test_a_ledger_attached_in_two_ways_counts_once(both: Both, ways: tuple[str, str]) -> None:
    ledger = UsageLedger()
    client = both.client(Wire(ANSWER), observers=[ledger.record] if "client" in ways else [])
    if "process" in ways:
        ledger.start()
    try:
        with ledger if "here" in ways else contextlib.nullcontext():
            await both(client.send(ASK))
    finally:
        ledger.stop()
    assert [row["calls"] for row in ledger.rows()] == [1]


async def test_a_ledger_can_belong_to_one_plain_client(both: Both) -> None:
    ledger = UsageLedger(budget=0.25)
    kind = AsyncLunos if both.is_async else Lunos
    answer = {"choices": [{"message": {"content": "Hi"}}], "usage": {"cost": 0.25}}
    settings = {
        "base_url": "https://lunos.test",
        "http_client": both.http_client(Wire(reply(answer))),
    }
    counted = kind("k", observers=[ledger.record], **settings)
    other = kind("k", **settings)
    for lunos in (counted, other, other):
        await both(lunos.chat.completions.create(model="m", messages=HELLO))
    assert (ledger.rows()[0]["calls"], ledger.cost) == (1, 0.25)
    with pytest.raises(LunosBudgetError):
        await both(counted.chat.completions.create(model="m", messages=HELLO))


def test_a_started_ledger_counts_in_bare_threads_until_it_is_stopped() -> None:
    transport = httpx.MockTransport(Wire(ANSWER))
    with httpx.Client(transport=transport) as http:
        client = Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http)
        ledger = UsageLedger().start()
        try:
            thread = threading.Thread(target=client.send, args=(ASK,))
            thread.start()
            thread.join()
        finally:
            ledger.stop()
        client.send(ASK)
    assert [row["calls"] for row in ledger.rows()] == [1]


def test_calls_from_many_threads_are_all_counted() -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire(ANSWER))) as http:
        ledger = UsageLedger()
        config = Config(api_key="k", base_url="https://lunos.test")
        client = Client(config, http_client=http, observers=[ledger.record])
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.send(ASK), range(200)))
    (row,) = ledger.rows()
    assert (row["calls"], row["input_tokens"], row["cost"]) == (200, 1800, 20.0)


@pytest.mark.subprocess
def test_a_child_forked_while_threads_record_counts_on() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(CallRecord):
        @property
        def attempts(self) -> int:
            inside.set()
            assert go_on.wait(30)
            return 1

    ledger = UsageLedger(budget=10)
    record = CallRecord("a", "m", "/c", 1, 0.0, None, Usage(cost=1.0), None)
    with ThreadPoolExecutor(1) as pool:
        ledger(Slow(*record))
        recording = pool.submit(ledger.rows)
        assert inside.wait(10)

        def check() -> None:
            ledger.check_budget(model="m")
            ledger(record)
            assert ledger.rows()
            with ledger:
                ledger.start().stop()

        try:
            with _everywhere.lock:  # as another thread that starts a ledger
                assert passes_in_a_forked_child(check)
        finally:
            go_on.set()
        recording.result(10)


async def test_two_tasks_with_ledgers_of_their_own_do_not_mix() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire(ANSWER))) as http:
        config = Config(api_key="k", base_url="https://lunos.test")
        client = AsyncClient(config, http_client=http)

        async def count(times: int) -> int:
            with UsageLedger() as ledger:
                for _ in range(times):
                    await client.send(ASK)
                    await asyncio.sleep(0)
            calls: int = ledger.rows()[0]["calls"]
            return calls

        assert await asyncio.gather(count(2), count(5)) == [2, 5]


async def test_a_stream_closed_early_is_a_call_with_the_usage_that_had_come(both: Both) -> None:
    early = stream([delta("Hi", usage=USAGE), delta(" you"), delta("", "stop"), "[DONE]"])
    silent_one = stream([delta("Hi"), delta(" you"), delta("", "stop"), "[DONE]"])
    # read with the chunk that the caller stopped at
    late = stream([delta("Hi"), delta("", "stop"), {"choices": [], "usage": USAGE}, "[DONE]"])
    client = both.client(Wire(early, silent_one, late))
    with UsageLedger() as ledger:
        for model in ("said", "silent", "with the end"):
            opened = await both(client.stream(chat_stream_request(HELLO, model=model)))
            async for _ in both.each(opened):
                break
            await both(opened.close())
    said, silent, late_said = ledger.rows()
    for row in (said, late_said):
        assert (row["calls"], row["input_tokens"], row["cost"]) == (1, 9, 0.1)
    assert (silent["calls"], silent["input_tokens"], silent["cost"]) == (1, 0, None)
    assert said["errors"] == silent["errors"] == 0


async def test_fetching_the_catalog_is_not_a_model_call(both: Both) -> None:
    client = both.client(Wire(reply([{"id": "m"}])))
    with UsageLedger(budget=0) as ledger:
        await both(client.send(models_request()))
    assert ledger.rows() == []


async def test_images_are_counted_with_what_they_cost(both: Both) -> None:
    wire = Wire(reply({"data": [{"url": "https://x.test/1.png"}], "cost": 0.04}))
    with UsageLedger() as ledger:
        await both(both.client(wire).send(image_request("a cat", model="draw")))
    (row,) = ledger.rows()
    assert (row["endpoint"], row["cost"]) == ("/images/generations", 0.04)


async def test_a_spent_budget_refuses_the_next_call_before_anything_is_sent(both: Both) -> None:
    wire = Wire(ANSWER, STREAMED)
    client = both.client(wire)
    with UsageLedger(budget=0.2) as ledger:
        await both(client.send(ASK))
        await both.chunks(client, ASK_STREAM)
        for refused in (client.send, client.stream):
            request: Any = ASK if refused == client.send else ASK_STREAM
            with pytest.raises(LunosBudgetError, match=r"0\.2 USD is spent") as caught:
                await both(refused(request))
            assert (caught.value.model, caught.value.app_id) == ("m", "a")
        assert len(wire.requests) == 2
        assert [row["calls"] for row in ledger.rows()] == [2]  # what was not sent is no call
        ledger.budget = Decimal(1)
        await both.chunks(client, ASK_STREAM)
        for _ in range(7):
            await both.chunks(client, ASK_STREAM)
        with pytest.raises(LunosBudgetError, match=r"1 USD is spent"):
            await both.chunks(client, ASK_STREAM)
        ledger.budget = None
        await both.chunks(client, ASK_STREAM)
        assert ledger.budget is None


@pytest.mark.parametrize(
    ("costs", "sum_"),
    [
        ([0.1] * 3, 0.3),
        ([0.1] * 10, 1.0),
        ([0.000123456789] * 12_345, 1.524074060205),
        ([0.0], 0.0),
    ],
)
def test_costs_add_up_as_amounts_of_money_do(costs: list[float], sum_: float) -> None:
    ledger = UsageLedger(budget=str(sum_) if sum_ else None)
    for cost in costs:
        if sum_:
            ledger.check_budget(model="m")  # not yet spent
        ledger.record(CallRecord("a", "m", "/c", 1, 0.0, None, Usage(cost=cost), None))
    assert (ledger.cost, ledger.rows()[0]["cost"]) == (sum_, sum_)
    if sum_:
        with pytest.raises(LunosBudgetError):
            ledger.check_budget(model="m")


@pytest.mark.parametrize(
    "cost", [1e308, 10**400, float("nan"), float("inf"), -1.0, "1", True, 2e9, Decimal("NaN")]
)
def test_a_cost_that_no_call_can_have_is_unknown_however_often_it_comes(cost: Any) -> None:
    ledger = UsageLedger(budget=1)
    for _ in range(300):
        ledger.check_budget(model="m")
        absurd = Usage(input_tokens=10**400, output_tokens=-1, cached_tokens=10**400, cost=cost)
        ledger(CallRecord("a", "m", "/c", 1, 0.0, None, absurd, None))
    (row,) = ledger.rows()
    assert (row["calls"], row["cost"], row["input_tokens"], row["cached_tokens"]) == (
        300,
        None,
        0,
        0,
    )
    assert ledger.history()["a"][-1][1:] == (0.0, 0)
    assert ledger.table()
    assert ledger.cost is None


@pytest.mark.parametrize(
    "cost", ["1e308", "-1", "1" + "0" * 60, "true", '"1e308"', '"NaN"', '""', "null"]
)
async def test_an_absurd_cost_of_the_server_is_unknown_and_the_answer_arrives(
    both: Both, cost: str
) -> None:
    body = (
        '{"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 9, '
        f'"completion_tokens": 1e300, "cost": {cost}}}}}'
    ).encode()
    client = both.client(Wire(*[raw(body)] * 120))
    with UsageLedger(budget=1, on_unknown_cost="ignore") as ledger:
        for _ in range(120):
            assert (await both(client.send(ASK))).text == "Hi"
    (row,) = ledger.rows()
    assert (row["calls"], row["cost"], row["output_tokens"]) == (120, None, 0)


async def test_a_cost_that_comes_as_text_is_a_cost(both: Both) -> None:
    body = b'{"choices": [{"message": {"content": "Hi"}}], "usage": {"cost": "0.1"}}'
    with UsageLedger() as ledger:
        await both(both.client(Wire(raw(body))).send(ASK))
    assert float(ledger.cost or 0) == 0.1


def test_what_is_asked_of_no_model_is_refused_by_no_budget() -> None:
    spent = UsageLedger(budget=0)
    spent.check_budget()
    with pytest.raises(LunosBudgetError):
        spent.check_budget(model="m")
    UsageLedger().check_budget(model="m")
    UsageLedger(limits=[RateLimit(requests=1)]).check_budget(model="m")


def test_a_budget_must_be_an_amount() -> None:
    with pytest.raises(ValueError, match="budget"):
        UsageLedger(budget=-1)


@pytest.fixture
def ledger() -> UsageLedger:
    """Two applications, one of which has a name that a markup language would eat."""
    result = UsageLedger()
    with httpx.Client(transport=httpx.MockTransport(Wire(ANSWER, ANSWER, STREAMED))) as http:
        config = Config(api_key="k", base_url="https://lunos.test")
        client = Client(config, http_client=http, observers=[result.record])
        client.send(ASK)
        client.send(chat_request(HELLO, model="m", app_id="[b]two[/b]"))
    return result


def test_the_table_is_whole(ledger: UsageLedger) -> None:
    head, *rows = [line.split() for line in ledger.table().splitlines()]
    assert head[:4] == ["app_id", "model", "endpoint", "calls"]
    assert [row[0] for row in rows] == ["a", "[b]two[/b]", "total"]
    assert rows[0][3:11] == ["1", "0", "0", "9", "3", "4", "2", "0.100000"]
    assert "0.200000" in rows[2]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_written_file_is_read_back_as_it_was(
    ledger: UsageLedger, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"usage.{kind}"
    getattr(ledger, f"write_{kind}")(path)
    rows, history = read_file(path)
    assert rows == ledger.rows()
    assert history == (json.loads(json.dumps(ledger.history())) if kind == "json" else {})


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1"])
def test_a_csv_cell_that_a_spreadsheet_would_run_is_made_harmless(
    start: str, tmp_path: Path
) -> None:
    ledger = UsageLedger()
    ledger(CallRecord(start, start, "/c", 1, 0.5, None, None, None))
    ledger.write_csv(tmp_path / "usage.csv")
    with (tmp_path / "usage.csv").open(newline="", encoding="utf-8") as file:
        _, row = list(csv.reader(file))
    assert row[0].startswith("'")
    assert row[1].startswith("'")
    if start.isprintable():
        assert read_file(tmp_path / "usage.csv")[0] == ledger.rows()


def test_terminal_codes_in_an_app_id_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    ledger = UsageLedger()
    ledger(CallRecord("a\x1b[31m\x9b[/x]", "m\n", "/c", 1, 0.5, None, None, None))
    ledger.write_csv(tmp_path / "usage.csv")
    for text in (ledger.table(), (tmp_path / "usage.csv").read_text(encoding="utf-8")):
        assert not {"\x1b", "\x9b"} & set(text)
        assert "a\\x1b[31m\\x9b[/x]" in text


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_as_it_was(
    ledger: UsageLedger, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage"
    write = getattr(ledger, f"write_{kind}")
    write(path)
    path.chmod(0o640)
    write(path)
    assert path.stat().st_mode & 0o777 == 0o640
    old = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]  # no temporary files


def test_readers_beside_two_writers_see_whole_files_only(
    ledger: UsageLedger, tmp_path: Path
) -> None:
    path = tmp_path / "usage.json"
    ledger.write_json(path)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            ledger.write_json(path)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        try:
            assert all(read_file(path)[0] == ledger.rows() for _ in range(100))
        finally:
            stop.set()
        for writer in writers:
            writer.result()


def test_a_symlink_stays_and_its_file_is_written(ledger: UsageLedger, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ledger.write_json(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_file(tmp_path / "real")[0] == ledger.rows()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for text in ('{"a": 1}', '{"rows": 3}', "a,b\n1,2\n"):
        path = tmp_path / "other"
        path.write_text(text)
        with pytest.raises(ValueError, match="isn't a file that a UsageLedger"):
            read_file(path)


def test_a_frame_has_the_columns_and_the_rows(ledger: UsageLedger) -> None:
    pytest.importorskip("pandas")
    frame = ledger.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert frame["cost"].sum() == pytest.approx(0.2)
    assert tuple(UsageLedger().to_frame().columns) == COLUMNS


def test_a_frame_is_of_polars_where_pandas_is_missing(
    ledger: UsageLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    polars = pytest.importorskip("polars")
    monkeypatch.setitem(sys.modules, "pandas", None)
    frame = ledger.to_frame()
    assert isinstance(frame, polars.DataFrame)
    assert tuple(frame.columns) == COLUMNS
    assert frame["cost"].sum() == pytest.approx(0.2)
    assert frame.rows(named=True) == ledger.rows()
    assert tuple(UsageLedger().to_frame().columns) == COLUMNS


@pytest.mark.subprocess  # a machine's first plot lists its fonts
def test_a_plot_has_a_line_for_each_app_in_two_panels(ledger: UsageLedger, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = ledger.plot(tmp_path / "usage.png")
    above, below = figure.axes
    assert [line.get_label() for line in above.lines] == ["a", "[b]two[/b]"]
    assert [list(line.get_ydata()) for line in above.lines] == [[0, 0.1, 0.1]] * 2
    assert [list(line.get_ydata()) for line in below.lines] == [[0, 12, 12]] * 2
    assert (tmp_path / "usage.png").read_bytes().startswith(b"\x89PNG")
    UsageLedger().plot()  # nothing yet is a picture, too


@pytest.mark.subprocess  # a machine's first plot lists its fonts
def test_a_lines_name_points_to_its_end(ledger: UsageLedger) -> None:
    pytest.importorskip("matplotlib")
    for moment in (2e9, 3e9):
        used = Usage(10, 2, 12, cost=0.3)
        ledger(CallRecord("a", "m", "/c", 1, 0.5, None, used, None, time=moment))
    for panel in ledger.plot().axes:
        ends = {
            line.get_label(): (line.get_xdata()[-1], line.get_ydata()[-1]) for line in panel.lines
        }
        assert {text.get_text(): text.xy for text in panel.texts} == ends
        assert len({*panel.lines[0].get_xdata()}) > 2


@pytest.mark.subprocess  # a machine's first plot lists its fonts
def test_a_plot_of_many_apps_has_ten_lines_and_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ledger = UsageLedger()
    for i in range(50):
        spent = Usage(10, 0, 10, cost=0.01 * (i + 1))
        name = f"_$app {i}" * (1 + 10 * (i % 2))
        ledger(CallRecord(name, "m", "/c", 1, 0.5, None, spent, None))
    above, below = ledger.plot(tmp_path / "usage.png").axes
    assert len(above.lines) == 10
    assert above.lines[-1].get_label() == "other"
    assert sum(line.get_ydata()[-1] for line in above.lines) == pytest.approx(12.75)
    assert sum(line.get_ydata()[-1] for line in below.lines) == 500
    assert not [line for line in above.lines if line.get_label().startswith("_")]
    begun = min(line.get_xdata()[0] for line in above.lines)
    assert all(begun <= moment for moment in above.lines[-1].get_xdata())
    assert (above.lines[-1].get_xdata()[-1] - begun).total_seconds() < 60


@pytest.mark.parametrize(("name", "library"), [("to_frame", "pandas"), ("plot", "matplotlib")])
def test_a_missing_library_is_named(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in (library, "polars"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=f"pip install {library}"):
        getattr(UsageLedger(), name)()


def test_a_long_history_is_thinned_and_ends_where_it_did() -> None:
    from lunos_core.accounting.totals import History

    history = History()
    for index in range(10_000):
        history.add(float(index), 1.0, 2)
    assert len(history.points) <= 4001
    assert history.points[-1] == (9999.0, 10_000.0, 20_000)


def pickled(ledger: UsageLedger) -> UsageLedger:
    """As it comes back from another process."""
    copied = pickle.loads(pickle.dumps(ledger))
    assert isinstance(copied, UsageLedger)
    return copied


async def test_ledgers_of_other_processes_add_up_to_what_one_would_have_counted(both: Both) -> None:
    failing = reply({"error": {"message": "No"}}, 500, retry_after="0")
    client = both.client(Wire(failing, ANSWER, STREAMED, ANSWER), max_retries=1)
    workers = [UsageLedger(), UsageLedger()]
    with UsageLedger() as single:
        with workers[0]:
            await both(client.send(ASK))
        with workers[1]:
            await both.chunks(client, ASK_STREAM)
            await both(client.send(chat_request(HELLO, model="m", app_id="b")))
    whole = UsageLedger()
    for worker in workers:
        whole.merge(pickled(worker))
    for merged, counted in zip(whole.rows(), single.rows(), strict=True):
        assert merged == {**counted, "seconds": pytest.approx(counted["seconds"])}
    assert whole.cost == single.cost == 0.3  # exact: 0.1 three times is not, in floats
    for app_id, points in single.history().items():
        assert [point[1:] for point in whole.history()[app_id]] == [
            (pytest.approx(cost), tokens) for _, cost, tokens in points
        ]


def test_what_another_ledger_spent_counts_towards_the_budget() -> None:
    worker, ledger = UsageLedger(), UsageLedger(budget=0.1)
    client = Client(
        Config(api_key="k", base_url="https://lunos.test"),
        http_client=httpx.Client(transport=httpx.MockTransport(Wire(ANSWER))),
        observers=[worker.record],
    )
    client.send(ASK)
    ledger.merge(worker)
    with pytest.raises(LunosBudgetError):
        ledger.check_budget(model="m")


def test_a_ledger_that_came_back_goes_on_counting() -> None:
    with pickled(UsageLedger(budget=1)) as ledger:
        assert ledger.budget == 1
        client = Client(
            Config(api_key="k", base_url="https://lunos.test"),
            http_client=httpx.Client(transport=httpx.MockTransport(Wire(ANSWER))),
        )
        client.send(ASK)
    assert [row["calls"] for row in ledger.rows()] == [1]
