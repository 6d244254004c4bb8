"""Every case of the adapter runs twice: through the sync method and through its async twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from pydantic import Field

from tests.llama_index_adapter.wire import Way


@pytest.fixture(params=["sync", "async"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    case = Way(request.param)
    yield case
    await case.close()


@pytest.fixture
async def awaited() -> AsyncIterator[Way]:
    """For cases that exist only awaited, such as agents."""
    case = Way("async")
    yield case
    await case.close()


class Collector(BaseEventHandler):
    """Keeps the instrumentation's events."""

    events: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def events() -> Iterator[Collector]:
    """The instrumentation's events while the test runs."""
    root = get_dispatcher()
    collector = Collector()
    root.event_handlers.append(collector)
    yield collector
    root.event_handlers.remove(collector)
