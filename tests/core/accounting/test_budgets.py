"""Budgets and limits: what they cover, that they hold, and what happens when they are spent."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import lunos_core
from lunos_core import (
    Budget,
    CallRecord,
    Client,
    Config,
    LunosBudgetError,
    LunosConfigError,
    LunosCostWarning,
    LunosServerError,
    ModelInfo,
    RateLimit,
    Usage,
    UsageLedger,
    UsageStore,
    chat_request,
    chat_stream_request,
)
from lunos_core.accounting import environment, spending, writer
from tests.core.wire_samples import HELLO, Wire, delta, reply, stream

from .test_store import rows_in

if TYPE_CHECKING:
    from tests.conftest import Both

pytestmark = pytest.mark.filterwarnings("ignore::lunos_core.LunosCostWarning")


def answer(cost: float | None) -> Any:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": cost}
    return reply({"model": "served", "choices": [{"message": {"content": "Hi"}}], "usage": usage})


def ask(app: str = "a", model: str = "m", **more: Any) -> Any:
    return chat_request(HELLO, model=model, app_id=app, **more)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Clock:
    def __init__(self, text: str) -> None:
        self.now = at(text)

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    spending.warned_models.clear()


# --- what a budget is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"amount": "abc"}, ValueError, "budget"),
        ({"amount": float("nan")}, ValueError, "budget"),
        ({"amount": -1}, ValueError, "budget"),
        ({"amount": 1e300}, ValueError, "budget"),
        ({"amount": True}, TypeError, "budget"),
        ({"amount": {"shop": "x"}}, TypeError, "budget"),
        ({"amount": 1, "per": "minute"}, ValueError, "per"),
        ({"amount": 1, "per": 7}, ValueError, "per"),
        ({"amount": 1, "app": 7}, TypeError, "app"),
        ({"amount": 1, "tag": "feature"}, TypeError, "tag"),
        ({"amount": 1, "on_exceed": "explode"}, ValueError, "on_exceed"),
        ({"amount": 1, "warn_at": 2}, ValueError, "warn_at"),
        ({"amount": 1, "warn_at": 1.5}, ValueError, "warn_at"),
        ({"amount": 1, "warn_at": 0}, ValueError, "warn_at"),
        ({"amount": 1, "warn_at": -0.5}, ValueError, "warn_at"),
        ({"amount": 1, "warn_at": True}, TypeError, "warn_at"),
        ({"amount": 10**9 + 1}, ValueError, "budget"),
        ({"amount": 1, "user": 7}, TypeError, "user"),
        ({"amount": 1, "tag": ("a",)}, TypeError, "tag"),
        ({"amount": 1, "tag": ("a", 7)}, TypeError, "tag"),
        ({"amount": 1, "tag": ["a", "b"]}, TypeError, "tag"),
        ({"amount": 1, "warn_at": "80%"}, TypeError, "warn_at"),
        ({"amount": 1, "on_warn": "me"}, TypeError, "on_warn"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        Budget(**arguments)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(0), "0 USD"),
        (Budget(10**9, warn_at=1), "1000000000 USD"),
        (Budget("0.10", per="day", warn_at=None), "0.10 USD, per='day'"),
        (
            Budget(5, app="a", user="*", tag=("f", "s")),
            "5 USD, app='a', user='*', tag=('f', 's')",
        ),
        (RateLimit(requests=1), "requests=1 per minute"),
        (RateLimit(tokens=1, app="a", per="day"), "tokens=1, app='a' per day"),
    ],
)
def test_a_budget_describes_itself_in_messages(budget: Any, said: str) -> None:
    assert str(budget) == said


@pytest.mark.parametrize(
    ("per", "seconds"), [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)]
)
def test_a_limit_is_of_any_stretch_of_its_length(per: str, seconds: int) -> None:
    assert RateLimit(requests=1, per=per).seconds == seconds


@pytest.mark.parametrize(
    ("rule", "app", "user", "tags", "is_covered"),
    [
        (Budget(1), None, None, {}, True),
        (Budget(1, app="a"), "a", None, {}, True),
        (Budget(1, app="a"), "b", None, {}, False),
        (Budget(1, app="*"), "b", None, {}, True),
        (Budget(1, user="u"), "a", "u", {}, True),
        (Budget(1, user="u"), "a", "v", {}, False),
        (Budget(1, user="*"), "a", None, {}, False),
        (Budget(1, app="a", user="u"), "a", "v", {}, False),
        (Budget(1, tag=("f", "s")), "a", None, {"f": "s"}, True),
        (Budget(1, tag=("f", "s")), "a", None, {"f": "t"}, False),
        (Budget(1, tag=("f", "*")), "a", None, {"f": "t"}, True),
        (Budget(1, tag=("f", "*")), "a", None, {"g": "t"}, False),
        (RateLimit(requests=1, app="a", user="u"), "a", "u", {}, True),
        (RateLimit(requests=1, app="a", user="u"), "a", "v", {}, False),
        (RateLimit(requests=1, app="a", user="u"), "b", "u", {}, False),
    ],
)
def test_a_rule_covers_the_calls_of_its_app_user_and_tag(
    rule: Any, app: str | None, user: str | None, tags: dict[str, str], is_covered: bool
) -> None:
    scope = rule.scope({"app": app, "user": user, "tags": tags})
    assert (scope is not None) is is_covered
    if scope is not None:  # a value for each place, and of the call itself
        assert scope.condition.count("?") == len(scope.values)
        assert {*scope.values} <= {app, user, *tags.values(), '$."f"'}


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"budget": "abc"}, ValueError, "budget"),
        ({"budget": {"shop": "x"}}, TypeError, "budget"),
        ({"budgets": Budget(1)}, TypeError, "budgets"),
        ({"budgets": [1]}, TypeError, "budgets"),
        ({"budgets": "5"}, TypeError, "budgets"),
        ({"limits": [Budget(1)]}, TypeError, "limits"),
        ({"store": 7}, TypeError, "path"),
        ({"on_unknown_cost": "panic"}, ValueError, "on_unknown_cost"),
    ],
)
def test_a_ledger_that_makes_no_sense_is_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        UsageLedger(**arguments)


@pytest.mark.parametrize(
    ("per", "begin", "end"),
    [
        ("hour", "2026-12-31T23:00", "2027-01-01T00:00"),
        ("day", "2026-12-31T00:00", "2027-01-01T00:00"),
        ("week", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("month", "2026-12-01T00:00", "2027-01-01T00:00"),
    ],
)
def test_windows_are_calendar_windows_in_utc(per: str, begin: str, end: str) -> None:
    window = (at(begin), at(end))
    assert Budget(1, per=per).window(at("2026-12-31T23:59:59")) == window
    assert Budget(1, per=per).window(at(begin)) == window
    assert Budget(1, per=per).window(at(end))[0] == at(end)
    assert Budget(1, per="month").window(at("2026-02-28T01:00")) == (
        *(at("2026-02-01T00:00"), at("2026-03-01T00:00")),
    )
    assert Budget(1).window(5.0) == (0.0, None)


# --- budgets hold --------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
async def test_a_budget_is_used_up_to_its_last_call_and_then_refuses(
    both: Both, stored: bool, tmp_path: Path
) -> None:
    wire = Wire(answer(0.1))
    client = both.client(wire)
    with UsageLedger(budget=1, store=tmp_path / "u.db" if stored else None) as ledger:
        for _ in range(10):
            await both(client.send(ask()))
        with pytest.raises(LunosBudgetError, match=r"of 1 USD is spent \(1 USD so far") as caught:
            await both(client.send(ask()))
        with pytest.raises(LunosBudgetError):
            await both.chunks(client, chat_stream_request(HELLO, model="m"))
    assert (caught.value.model, caught.value.app_id) == ("m", "a")
    assert len(wire.requests) == 10
    assert ledger.rows()[0]["calls"] == 10
    if stored:
        statuses = [row["status"] for row in rows_in(tmp_path / "u.db")]
        assert statuses == ["ok"] * 10 + ["refused"] * 2


async def test_each_budget_covers_its_scope(both: Both) -> None:
    budgets = [
        Budget("0.2", app="shop"),
        Budget("0.1", app="*"),
        Budget("0.1", user="u1"),
        Budget("0.1", tag=("feature", "search")),
    ]
    client = both.client(Wire(answer(0.1)))

    async def passes(app: str, user: str | None = None, **tags: str) -> bool:
        with lunos_core.tags(**tags):
            try:
                await both(client.send(ask(app, **({} if user is None else {"user": user}))))
            except LunosBudgetError:
                return False
        return True

    with UsageLedger(budgets=budgets[:1]):
        assert [await passes("shop") for _ in range(3)] == [True, True, False]
        assert await passes("other")
    with UsageLedger(budgets=budgets[1:2]):
        assert [await passes(app) for app in ("a", "a", "b", "b")] == [True, False, True, False]
    with UsageLedger(budgets=budgets[2:3]):
        assert await passes("a", "u1")
        assert not await passes("b", "u1")
        with lunos_core.tags(user="u2"):
            assert await passes("a", "u1")  # the tag comes before the request's own
        assert await passes("a")
    with UsageLedger(budgets=budgets[3:]):
        assert await passes("a", feature="search")
        assert not await passes("b", feature="search")
        assert await passes("a", feature="chat")


async def test_the_strictest_of_several_budgets_refuses_and_is_named(both: Both) -> None:
    client = both.client(Wire(answer(0.1)))
    ledger = UsageLedger(budgets=[Budget(5, per="month"), Budget("0.1", per="day", app="a")])
    with ledger:
        await both(client.send(ask()))
        with pytest.raises(
            LunosBudgetError, match=r"0\.1 USD, per='day', app='a' is spent.*until 20"
        ):
            await both(client.send(ask()))


async def test_a_window_rolls_over_and_old_rows_of_the_window_count(
    both: Both, tmp_path: Path
) -> None:
    clock = Clock("2026-11-25T10:00")
    client = both.client(Wire(answer(0.1)))
    with UsageStore(tmp_path / "u.db", clock=clock) as store:
        store.add_many(
            [
                CallRecord(
                    "a", "m", "/c", 1, 1.0, None, Usage(cost=9.0), None, time=clock() - 86_400
                ),
                CallRecord("a", "m", "/c", 1, 1.0, None, Usage(cost=0.3), None, time=clock() - 60),
            ]
        )
        with UsageLedger(budgets=[Budget("0.4", per="day")], store=store):
            await both(client.send(ask()))
            with pytest.raises(LunosBudgetError):
                await both(client.send(ask()))
            clock.now = at("2026-11-26T00:00:01")
            for _ in range(4):
                await both(client.send(ask()))
            with pytest.raises(LunosBudgetError):
                await both(client.send(ask()))


class Slow:
    """A gateway that takes its time and a price."""

    def __init__(self, cost: float | None, seconds: float = 0.02) -> None:
        self.answer, self.seconds, self.requests = answer(cost), seconds, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        threading.Event().wait(self.seconds)
        return self.answer()

    async def later(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await asyncio.sleep(self.seconds)
        return self.answer()


def priced(model: str) -> ModelInfo:
    return ModelInfo(model, input_price=Decimal(0), output_price=Decimal("0.001"))


CONFIG = Config(api_key="k", base_url="https://lunos.test")


@pytest.mark.parametrize("known", ["by the catalog", "by the gateway alone"])
@pytest.mark.parametrize("calls", [1, 10, 50, 300])
def test_calls_at_once_from_threads_keep_to_the_budget(calls: int, known: str) -> None:
    http = httpx.Client(transport=httpx.MockTransport(Slow(0.1)))
    request = ask(max_tokens=100) if known == "by the catalog" else ask()
    with (
        Client(CONFIG, http_client=http, prices=priced if "catalog" in known else None) as client,
        UsageLedger(budget=1).start() as ledger,
        ThreadPoolExecutor(min(calls, 60)) as pool,
    ):
        try:
            done = [pool.submit(client.send, request) for _ in range(calls)]
            refused = sum(isinstance(item.exception(), LunosBudgetError) for item in done)
        finally:
            ledger.stop()
    http.close()
    assert ledger.cost is not None
    assert ledger.cost == pytest.approx(0.1 * (calls - refused))
    assert min(0.1 * calls, 0.8) - 1e-9 <= ledger.cost <= 1.2


@pytest.mark.parametrize("calls", [1, 10, 50, 300])
async def test_calls_at_once_from_tasks_keep_to_the_budget(calls: int) -> None:
    slow = Slow(0.1)
    async with httpx.AsyncClient(transport=httpx.MockTransport(slow.later)) as http:
        client = lunos_core.AsyncClient(CONFIG, http_client=http)
        with UsageLedger(budget=1) as ledger:
            tasks = [client.send(ask()) for _ in range(calls)]
            done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(item) for item in done if isinstance(item, Exception)} <= {LunosBudgetError}
    assert ledger.cost is not None
    assert min(0.1 * calls, 0.8) - 1e-9 <= ledger.cost <= 1.2


def _spend(path: str, known: bool) -> None:
    http = httpx.Client(transport=httpx.MockTransport(Slow(0.1)))
    client = Client(CONFIG, http_client=http, prices=priced if known else None)
    request = ask(max_tokens=100) if known else ask()
    with UsageLedger(budgets=[Budget(1)], store=path).start(), ThreadPoolExecutor(50) as pool:
        for call in [pool.submit(client.send, request) for _ in range(50)]:
            call.exception()


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_four_processes_share_a_budget(tmp_path: Path, known: bool) -> None:
    path = str(tmp_path / "u.db")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_spend, args=(path, known)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    with UsageStore(path) as store:
        (row,) = store.summary()
        with store.database.reading() as connection:
            assert connection.execute("SELECT COUNT(*) FROM reservations").fetchone() == (0,)
    assert 0.8 - 1e-9 <= row["cost"] <= 1.2


async def test_what_calls_share_is_held_until_the_last_of_them_is_written(tmp_path: Path) -> None:
    go, sent, clock = asyncio.Event(), asyncio.Event(), Clock("2026-11-25T10:00")
    slow = False

    async def handler(request: httpx.Request) -> httpx.Response:
        if slow:
            sent.set()
            await go.wait()
        return answer(0.1)()

    def held(store: UsageStore) -> list[Any]:
        store.flush()
        with store.database.reading() as connection:
            return connection.execute("SELECT cost / 1000000000 FROM reservations").fetchall()

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        client = lunos_core.AsyncClient(CONFIG, http_client=http)
        with UsageStore(tmp_path / "u.db", clock=clock) as store:
            with UsageLedger(budget=1000, store=store):
                for _ in range(3):  # one to learn, one alone, and one of those that share
                    await client.send(ask())
                assert held(store) == [(4900,)]
                slow = True
                task = asyncio.create_task(client.send(ask()))
                await sent.wait()
                clock.now += 3  # what nobody has drawn is given back; the call goes on
                assert held(store) == [(100,)]
                go.set()
                await task
                assert held(store) == []
            assert store.summary()[0]["cost"] == pytest.approx(0.4)


async def test_what_nobody_has_drawn_is_given_back_without_another_call(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "DELAY", 0.02)
    clock = Clock("2026-11-25T10:00")
    client = both.client(Wire(answer(0.1)))

    def held(store: UsageStore) -> Any:
        with store.database.reading() as connection:
            return connection.execute("SELECT SUM(cost) FROM reservations").fetchone()[0] or 0

    with (
        UsageStore(tmp_path / "u.db", clock=clock) as store,
        UsageLedger(budget=1000, store=store),
    ):
        for _ in range(2):  # one to learn, and one that holds money for those after it
            await both(client.send(ask()))
        store.flush()
        assert held(store) > 10**12
        await asyncio.sleep(0.2)  # until nothing is left to write
        clock.now += 3
        for _ in range(300):
            if not held(store):
                break
            await asyncio.sleep(0.02)
        assert held(store) == 0


async def test_a_failed_call_and_a_cancelled_one_give_back_what_they_held(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        waiting.set()
        await asyncio.sleep(60)
        return answer(0.1)()

    with UsageStore(tmp_path / "u.db") as store, UsageLedger(budget=1, store=store):
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
            client = lunos_core.AsyncClient(CONFIG, http_client=http, prices=priced)
            task = asyncio.create_task(client.send(ask(max_tokens=900)))
            await waiting.wait()
            with store.database.reading() as connection:
                (held,) = connection.execute("SELECT cost FROM reservations").fetchone()
            assert held == 9 * 10**11
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
            gc.collect()
        failing = httpx.MockTransport(Wire(reply({"error": "no"}, 500)))
        with (
            httpx.Client(transport=failing) as http,
            Client(
                Config(api_key="k", base_url="https://lunos.test", max_retries=0),
                http_client=http,
                prices=priced,
            ) as client,
            pytest.raises(LunosServerError),
        ):
            client.send(ask(max_tokens=900))
        store.flush()
        with store.database.reading() as connection:
            assert connection.execute("SELECT * FROM reservations").fetchall() == []


# --- what happens --------------------------------------------------------------------------------


async def test_a_budget_can_warn_or_ask_in_place_of_refusing(both: Both) -> None:
    client = both.client(Wire(answer(0.5)))
    with UsageLedger(budgets=[Budget("0.5", on_exceed="warn")]) as ledger:
        await both(client.send(ask()))
        with pytest.warns(LunosCostWarning, match="is spent"):
            await both(client.send(ask()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await both(client.send(ask()))  # once
    assert ledger.cost == 1.5
    asked: list[Any] = []

    def decide(budget: Budget, spent: float, estimate: float) -> bool:
        asked.append((budget, spent))
        return spent < 1

    budget = Budget("0.5", on_exceed=decide)
    with UsageLedger(budgets=[budget]):
        await both(client.send(ask()))
        await both(client.send(ask()))
        with pytest.raises(LunosBudgetError):
            await both(client.send(ask()))
    assert asked == [(budget, 0.5), (budget, 1.0)]


async def test_a_budget_of_nothing_turns_an_app_off(both: Both) -> None:
    wire = Wire(answer(0.0), answer(0.0))
    client = both.client(wire)
    with UsageLedger(budgets=[Budget(0, app="off")]):
        with pytest.raises(LunosBudgetError, match="the budget of 0 USD, app='off' is spent"):
            await both(client.send(ask("off")))
        assert wire.requests == []
        await both(client.send(ask("on")))
        with pytest.raises(LunosBudgetError):
            await both(client.send(ask("off")))
    assert len(wire.requests) == 1


async def test_a_callback_is_told_what_may_follow(both: Both) -> None:
    told: list[Any] = []

    def decide(_: Budget, spent: float, estimate: float) -> bool:
        told.append((spent, estimate))
        return True

    events = stream([delta("One"), delta("two")])
    client = both.client(Wire(answer(0.5), events, answer(0.5), answer(0.5)))
    with UsageLedger(budgets=[Budget("0.9", on_exceed=decide)]):
        await both(client.send(ask()))
        opened = await both(client.stream(chat_stream_request(HELLO, model="m")))
        await both(client.send(ask()))
        await both(client.send(ask()))
        await both(opened.close())
    # while there is money: this call and those under way; once it is spent: this call
    assert told == [(0.5, 1.0), (1.0, 0.5)]


async def test_a_soft_threshold_calls_back_once_per_window(both: Both) -> None:
    client = both.client(Wire(answer(0.1)))
    heard: list[Any] = []
    budget = Budget(1, per="day", warn_at=0.3, on_warn=lambda *told: heard.append(told))
    with UsageLedger(budgets=[budget]):
        await both(client.send(ask()))
        await both(client.send(ask()))
        assert heard == []
        await both(client.send(ask()))
        assert heard == [(budget, 0.3)]
        await both(client.send(ask()))
    assert len(heard) == 1


async def test_a_callback_that_fails_costs_no_answer(both: Both) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("mine")

    client = both.client(Wire(answer(0.1)))
    with UsageLedger(budgets=[Budget(1, warn_at=0.1, on_warn=fails)]):
        assert (await both(client.send(ask()))).text == "Hi"


async def test_an_unknown_cost_is_loud_once_or_refused_or_ignored(both: Both) -> None:
    wire = Wire(answer(None))
    client = both.client(wire)
    with UsageLedger(budget="0.000001"):
        with pytest.warns(LunosCostWarning, match="what m costs"):
            await both(client.send(ask()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await both(client.send(ask()))  # once
    refusing = UsageLedger(budget=1, on_unknown_cost="refuse")
    with refusing, pytest.raises(LunosBudgetError, match="unknown"):
        await both(client.send(ask(model="other")))
    assert len(wire.requests) == 2
    with UsageLedger(budget=1, on_unknown_cost="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        await both(client.send(ask(model="third")))


async def test_a_budget_loads_the_catalogs_prices_at_the_first_need(both: Both) -> None:
    paths: list[str] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        if request.url.path == "/public/models":
            return reply([{"id": "m", "pricePerMillionTokens": {"input": 1e5, "output": 1e5}}])()
        return answer(None)()

    http = both.http_client(gateway)
    kind = lunos_core.AsyncLunos if both.is_async else lunos_core.Lunos
    lunos = kind("k", base_url="https://lunos.test", http_client=http)
    question: dict[str, Any] = {"model": "m", "messages": HELLO}
    await both(lunos.chat.completions.create(**question))
    assert paths == ["/v1/chat/completions"]  # nobody asked for prices
    with UsageLedger(budget=2, on_unknown_cost="refuse") as ledger:
        await both(lunos.chat.completions.create(**question))
        await both(lunos.chat.completions.create(**question))
        with pytest.raises(LunosBudgetError):
            await both(lunos.chat.completions.create(**question))
    assert paths.count("/public/models") == 1
    assert ledger.cost == 2.4


async def test_a_stream_that_is_left_early_is_charged_by_an_estimate(
    both: Both, tmp_path: Path
) -> None:
    events = [delta("Hi"), delta(" you"), delta("", "stop"), "[DONE]"]
    client = both.client(Wire(stream(events)))
    client.prices = priced
    with UsageStore(tmp_path / "u.db") as store, UsageLedger(budget=1, store=store):
        request = chat_stream_request(HELLO, model="m", max_tokens=50)
        opened = await both(client.stream(request))
        async for _ in both.each(opened):
            break
        await both(opened.close())
        (row,) = store.summary()
    assert row["estimated_cost"] == row["cost"] == pytest.approx(0.05)


async def test_a_store_that_fails_leaves_budgets_to_what_this_process_knows(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = both.client(Wire(answer(0.5)))
    store = UsageStore(tmp_path / "u.db")
    with UsageLedger(budget=1, store=store):
        await both(client.send(ask()))
        store.flush()

        def locked(*_: Any, **__: Any) -> Any:
            raise LunosConfigError("locked")

        monkeypatch.setattr(store.database, "turns", locked)
        await both(client.send(ask()))
        with pytest.raises(LunosBudgetError):
            await both(client.send(ask()))
        monkeypatch.undo()
    store.close()
    assert len([line for line in caplog.messages if "this process alone" in line]) == 1


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"requests": 0}, ValueError),
        ({"tokens": 0}, ValueError),
        ({"requests": 1, "user": 7}, TypeError),
        ({"requests": 1.5}, TypeError),
        ({"tokens": True}, TypeError),
        ({"requests": 1, "per": "year"}, ValueError),
        ({"requests": 1, "per": ["minute"]}, ValueError),
        ({"requests": 1, "on_exceed": "warn"}, ValueError),
        ({"requests": 1, "app": 7}, TypeError),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        RateLimit(**arguments)


async def test_a_limit_refuses_or_waits_until_there_is_room(both: Both, tmp_path: Path) -> None:
    clock = Clock("2026-11-25T10:00")
    client = both.client(Wire(answer(0.1)))
    with UsageStore(tmp_path / "u.db", clock=clock) as store:
        limits = [RateLimit(requests=2, app="*", on_exceed="refuse")]
        with UsageLedger(limits=limits, store=store):
            for app in ("a", "a", "b"):
                await both(client.send(ask(app)))
            with pytest.raises(LunosBudgetError, match="requests=2"):
                await both(client.send(ask("a")))
            clock.now += 61
            await both(client.send(ask("a")))
    with UsageLedger(limits=[RateLimit(requests=2, per="second")]) as ledger:
        begun = time.monotonic()
        for _ in range(5):
            await both(client.send(ask()))
        assert time.monotonic() - begun >= 1.9  # the promise itself: two in a second
    assert ledger.rows()[0]["calls"] == 5


async def test_a_limit_of_tokens_counts_prompts_and_answers(both: Both) -> None:
    client = both.client(Wire(answer(0.1)))
    with UsageLedger(limits=[RateLimit(tokens=60, on_exceed="refuse")]):
        await both(client.send(ask(max_tokens=10)))
        await both(client.send(ask(max_tokens=10)))
        with pytest.raises(LunosBudgetError, match="tokens=60"):
            await both(client.send(ask(max_tokens=50)))


# --- the environment and tags --------------------------------------------------------------------


async def test_the_environment_records_without_any_code(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "u.db"
    monkeypatch.setenv("LUNOS_USAGE_DB", str(path))
    client = both.client(Wire(answer(0.1)))
    with lunos_core.tags(user="u", feature="search"):
        await both(client.send(ask()))
    with UsageLedger(store=path):  # the same file: written once
        await both(client.send(ask("b")))
    recorder = environment._recorders[str(path)]
    assert recorder is not None
    with UsageStore(path) as store:  # another object, which writes what they have pending
        rows = store.summary(by=("app", "user", "tag:feature"))
    result = [(row["app"], row["user"], row["tag:feature"], row["calls"]) for row in rows]
    assert sorted(result, key=str) == [("a", "u", "search", 1), ("b", None, None, 1)]
    recorder.store.close()


async def test_an_environment_that_names_no_store_warns_once(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_USAGE_DB", str(tmp_path / "no" / "folder" / "u.db"))
    client = both.client(Wire(answer(0.1)))
    with pytest.warns(UserWarning, match="LUNOS_USAGE_DB records nothing"):
        await both(client.send(ask()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await both(client.send(ask()))  # once


async def test_tags_are_right_across_tasks_and_threads() -> None:
    async def inside(name: str) -> dict[str, str]:
        with lunos_core.tags(feature=name):
            await asyncio.sleep(0)
            return dict(await asyncio.to_thread(lunos_core.current_tags))

    with lunos_core.tags(user="u"):
        assert await asyncio.gather(inside("a"), inside("b")) == [
            {"user": "u", "feature": "a"},
            {"user": "u", "feature": "b"},
        ]
    assert dict(lunos_core.current_tags()) == {}
    with pytest.raises(TypeError, match="feature"), lunos_core.tags(feature=7):  # type: ignore[arg-type]  # what a caller may do
        pass


@pytest.mark.parametrize("name", ["größe", "a.b[0]", 'say "x"', "a\\b", "new\nline", "日本", " x "])
async def test_a_tag_of_any_name_narrows_a_budget_and_groups_a_summary(
    both: Both, tmp_path: Path, name: str
) -> None:
    client = both.client(Wire(*[answer(0.1)] * 3))
    with UsageStore(tmp_path / "u.db") as store:
        with (
            UsageLedger(store=store, budgets=[Budget("0.1", tag=(name, "x"))]),
            lunos_core.tags(**{name: "x"}),
        ):
            await both(client.send(ask()))
            with pytest.raises(LunosBudgetError):
                await both(client.send(ask()))
        (row,) = store.summary([f"tag:{name}"])
        assert row[f"tag:{name}"] == "x"
        with UsageLedger(store=store, budgets=[Budget("0.1", tag=(name, "*"))]):  # old rows count
            with lunos_core.tags(**{name: "x"}), pytest.raises(LunosBudgetError):
                await both(client.send(ask()))
            await both(client.send(ask()))
