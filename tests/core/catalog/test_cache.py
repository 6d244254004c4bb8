"""The lists of a catalog: what is known of them, how long they are fresh, and who fetches."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_core import (
    Catalog,
    Client,
    Config,
    LunosConnectionError,
    LunosError,
    ModelInfo,
    models_request,
)
from lunos_core.catalog.cache import DETAILED, PUBLIC, ModelCache
from lunos_core.catalog.disk import write_cache
from lunos_core.catalog.search import ModelFilter

FILTERED = models_request(input="image")
PUBLIC_MODELS = [ModelInfo("a", context_window=5), ModelInfo("acme/b", name="B")]
DETAILED_MODELS = [
    ModelInfo("a", context_window=7, max_output_tokens=3),
    ModelInfo("b", name="other", context_window=9),
    ModelInfo("c"),
]


def cache(now: list[float], ttl: float = 100.0, file: Path | None = None) -> ModelCache:
    return ModelCache("http://x", file, ttl, now=lambda: now[0])


def fill(cache: ModelCache, request: Any, models: list[ModelInfo]) -> None:
    assert cache.claim(request, refresh=True, blocking=True) is None
    assert cache.store(request, models) is models


@pytest.mark.parametrize(
    ("lists", "known"),
    [
        ({}, []),
        ({"detailed": DETAILED_MODELS}, DETAILED_MODELS),
        ({"filtered": DETAILED_MODELS}, DETAILED_MODELS),
        ({"public": PUBLIC_MODELS}, PUBLIC_MODELS),
        (
            {"public": PUBLIC_MODELS, "detailed": DETAILED_MODELS},
            [
                ModelInfo("a", context_window=5, max_output_tokens=3),
                ModelInfo("acme/b", name="B", context_window=9),
                ModelInfo("c"),
            ],
        ),
        (  # the whole list says more than a filtered one, in whatever order they came
            {"detailed": [ModelInfo("c", name="C")], "filtered": [ModelInfo("c"), ModelInfo("d")]},
            [ModelInfo("c", name="C"), ModelInfo("d")],
        ),
    ],
)
def test_what_is_known_is_every_list_together(lists: Any, known: list[ModelInfo]) -> None:
    requests = {"public": PUBLIC, "detailed": DETAILED, "filtered": FILTERED}
    filled = cache([1000.0])
    for name, models in lists.items():
        fill(filled, requests[name], models)
    for disk in (False, True):
        index = filled.known(disk=disk)
        assert index.models == known
        assert filled.known(disk=disk) is index  # made once


def test_models_are_known_by_the_list_behind_the_key_alone() -> None:
    detailed = {"data": [{"id": "acme/b", "parameters": {"context": 9}}, {"id": "c"}]}

    def answer(request: httpx.Request) -> httpx.Response:
        is_public = "/public/" in request.url.path
        return httpx.Response(404 if is_public else 200, json={} if is_public else detailed)

    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    catalog = Catalog(Client(Config(api_key="k"), http_client=http_client))
    assert catalog.cached_models() == []
    assert [model.id for model in catalog.list()] == ["acme/b", "c"]
    assert [model.id for model in catalog.cached_models()] == ["acme/b", "c"]
    known = catalog.cached("b")
    assert known is not None
    assert (known.id, known.context_window) == ("acme/b", 9)
    catalog.cached_models().clear()
    assert len(catalog.cached_models()) == 2


@pytest.mark.parametrize("key", ["k", None])
def test_a_list_by_modality_has_disabled_models_too(key: str | None) -> None:
    entries = [{"id": "a", "isEnabled": False, "inputModalities": ["image"]}, {"id": "b"}]
    answer = httpx.Response(200, json={"data": entries})
    http_client = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
    catalog = Catalog(Client(Config(api_key=key), http_client=http_client))
    models = catalog.list(input="image")
    assert [(model.id, model.enabled) for model in models][:1] == [("a", False)]
    assert [model.id for model in catalog.find(input="image")] == []


@pytest.mark.parametrize(
    ("number", "count", "least"),
    [(4, 3, True), (3, 3, True), (2, 3, False), (None, 3, False), (None, None, True)],
)
def test_a_floor_is_met_by_what_is_known(
    number: int | None, count: int | None, least: bool
) -> None:
    model = ModelInfo("a", context_window=number, max_output_tokens=number)
    assert ModelFilter(min_context=count).fits(model) is least
    assert ModelFilter(min_output=count).fits(model) is least
    price = None if number is None else Decimal(number)
    ceiling = None if count is None else Decimal(count)
    priced = ModelInfo("a", input_price=price, output_price=price)
    most = count is None or (number is not None and number <= count)
    assert ModelFilter(max_input_price=ceiling).fits(priced) is most
    assert ModelFilter(max_output_price=ceiling).fits(priced) is most


@pytest.mark.parametrize(
    ("now", "fresh"), [(1000.0, True), (1099.9, True), (1100.0, False), (999.9, False)]
)
def test_a_list_is_fresh_for_its_time_and_not_before_it(now: float, fresh: bool) -> None:
    clock = [1000.0]
    filled = cache(clock)
    fill(filled, PUBLIC, PUBLIC_MODELS)
    clock[0] = now
    claimed = filled.claim(PUBLIC, refresh=False, blocking=True)
    assert claimed is (PUBLIC_MODELS if fresh else None)


@pytest.mark.parametrize(
    ("now", "fresh"),
    [(2000.0, True), (2059.9, True), (2060.0, False), (1999.9, False)],
)
def test_after_a_failed_refresh_the_old_list_serves_for_a_minute(
    now: float, fresh: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [1000.0]
    filled = cache(clock)
    fill(filled, PUBLIC, PUBLIC_MODELS)
    clock[0] = 2000.0
    assert filled.claim(PUBLIC, refresh=False, blocking=True) is None
    assert filled.failed(PUBLIC, LunosConnectionError("cut off")) is PUBLIC_MODELS
    assert caplog.messages == [
        "the model catalog could not be fetched, the old one serves: LunosConnectionError: cut off"
    ]
    clock[0] = now
    claimed = filled.claim(PUBLIC, refresh=False, blocking=True)
    assert claimed is (PUBLIC_MODELS if fresh else None)
    if claimed is None:  # and its age is still that of the list
        assert filled.failed(PUBLIC, LunosConnectionError("cut off")) is PUBLIC_MODELS


def test_a_refresh_that_is_asked_for_fails_with_its_error() -> None:
    filled = cache([1000.0])
    fill(filled, PUBLIC, PUBLIC_MODELS)
    assert filled.claim(PUBLIC, refresh=True, blocking=True) is None
    with pytest.raises(LunosConnectionError):
        filled.failed(PUBLIC, LunosConnectionError("cut off"))
    assert filled.claim(PUBLIC, refresh=False, blocking=True) is PUBLIC_MODELS


def test_one_fetches_and_the_others_wait_for_it() -> None:
    empty = cache([1000.0])
    assert empty.claim(PUBLIC, refresh=False, blocking=True) is None
    assert empty.claim(FILTERED, refresh=False, blocking=True) is None, "another list"
    waiting = empty.claim(PUBLIC, refresh=True, blocking=False)
    assert isinstance(waiting, Future)
    assert waiting.running()
    with pytest.raises(LunosError) as refused:
        empty.claim(PUBLIC, refresh=False, blocking=True)
    assert refused.value.message == "the model catalog was asked for while it was being fetched"
    others: list[Any] = []
    thread = threading.Thread(
        target=lambda: others.append(empty.claim(PUBLIC, refresh=False, blocking=True))
    )
    thread.start()
    thread.join()
    assert others == [waiting]
    empty.store(PUBLIC, PUBLIC_MODELS)
    assert waiting.result() is PUBLIC_MODELS
    empty.store(PUBLIC, PUBLIC_MODELS)  # Ctrl-C came in the moment of the first: no harm


@pytest.mark.parametrize(
    ("error", "told"), [(KeyboardInterrupt(), None), (LunosConnectionError("cut off"), "error")]
)
def test_those_who_wait_hear_of_a_failure_and_fetch_after_a_cancelled_one(
    error: BaseException, told: str | None
) -> None:
    empty = cache([1000.0])
    assert empty.claim(PUBLIC, refresh=False, blocking=True) is None
    waiting = empty.claim(PUBLIC, refresh=False, blocking=False)
    assert isinstance(waiting, Future)
    with pytest.raises(type(error)):
        empty.failed(PUBLIC, error)
    if told:
        assert waiting.exception() is error
    else:
        assert waiting.result() is None
    assert empty.claim(PUBLIC, refresh=False, blocking=True) is None


def test_the_file_is_read_once_and_holds_the_public_list_alone(tmp_path: Path) -> None:
    file, now = tmp_path / "models.json", [1e9]
    reader = cache(now, file=file)
    assert reader.known(disk=False).models == []
    write_cache(file, "http://x", 1e9, [{"id": "from-disk"}])
    assert reader.known(disk=False).models == []
    assert [model.id for model in reader.known(disk=True).models] == ["from-disk"]
    write_cache(file, "http://x", 1e9, [{"id": "later"}])
    assert [model.id for model in reader.known(disk=True).models] == ["from-disk"]
    claimed = reader.claim(PUBLIC, refresh=False, blocking=True)
    assert isinstance(claimed, list)
    assert [model.id for model in claimed] == ["from-disk"]
    assert reader.claim(DETAILED, refresh=False, blocking=True) is None, "no list behind the key"

    before = file.read_bytes()
    fill(cache(now, file=file), DETAILED, DETAILED_MODELS)
    assert file.read_bytes() == before
    fill(cache(now, file=file), PUBLIC, [ModelInfo("a", raw={"id": "a"})])
    second = cache(now, file=file)
    claimed = second.claim(PUBLIC, refresh=False, blocking=True)
    assert isinstance(claimed, list)
    assert [model.id for model in claimed] == ["a"]


def test_a_file_that_came_late_is_read_by_who_fetches_and_not_by_who_only_looks(
    tmp_path: Path,
) -> None:
    file = tmp_path / "models.json"
    reader = cache([1e9], file=file)
    assert reader.known(disk=True).models == []
    write_cache(file, "http://x", 1e9, [{"id": "late"}])
    assert reader.known(disk=True).models == []
    assert reader.claim(PUBLIC, refresh=False, blocking=True) is not None
    assert [model.id for model in reader.known(disk=False).models] == ["late"]
