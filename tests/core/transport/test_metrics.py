"""The GenAI conventions' metrics and attributes, where the application has set providers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import LunosServerError, chat_request, chat_stream_request
from tests.core.transport.test_telemetry import ADAPTERS, _adapter
from tests.core.transport.test_telemetry import spans as spans
from tests.core.wire_samples import HELLO, Wire, delta, reply, stream

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

ANSWER = {
    "id": "gen-1",
    "model": "maker/m-2",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hidden"},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that returns each histogram's data points so far."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)

    def collect() -> dict[str, list[Any]]:
        data = reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        return {
            metric.name.removeprefix("gen_ai.client."): list(metric.data.data_points)
            for resource in resources
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    return collect


async def test_calls_are_measured_with_the_conventions_buckets(both: Both, points: Any) -> None:
    parts = [delta("H"), delta("i"), delta("!", "stop")]
    usage = {"choices": [], "usage": ANSWER["usage"]}
    failing = reply({"error": {"message": "No"}}, 500)
    wire = Wire(reply(ANSWER), stream([*parts, usage, "[DONE]"]), failing)
    client = both.client(wire, app_id="billing", max_retries=0)
    await both(client.send(chat_request(HELLO, model="m")))
    await both.chunks(client, chat_stream_request(HELLO, model="m"))
    with pytest.raises(LunosServerError):
        await both(client.send(chat_request(HELLO, model="m")))
    measured = points()
    duration = measured["operation.duration"]
    assert sum(point.count for point in duration) == 3
    assert {point.attributes["lunos.app_id"] for point in duration} == {"billing"}
    assert [p.count for p in duration if p.attributes.get("error.type") == "500"] == [1]
    assert duration[0].explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert duration[0].explicit_bounds[-1] == 81.92
    tokens = measured["token.usage"]
    assert tokens[0].explicit_bounds == tuple(4**power for power in range(14))
    sums: dict[str, int] = {}
    for point in tokens:
        kind = point.attributes["gen_ai.token.type"]
        sums[kind] = sums.get(kind, 0) + point.sum
    assert sums == {"input": 18, "output": 6}
    assert [point.count for point in measured["operation.time_to_first_chunk"]] == [1]
    assert [point.count for point in measured["operation.time_per_output_chunk"]] == [2]


async def test_a_span_describes_request_and_answer_without_their_texts(
    both: Both, spans: Any
) -> None:
    key = "sk-span-93ad5e20"
    wire = Wire(reply(ANSWER), reply(ANSWER | {"id": f"gen-{key}"}))
    client = both.client(wire, api_key=key)
    settings: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3}
    for _ in range(2):
        await both(client.send(chat_request(HELLO, model="m", session_id="talk", **settings)))
    first, echoing = spans.get_finished_spans()
    assert (
        dict(first.attributes).items()
        >= {
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.max_tokens": 7,
            "gen_ai.request.seed": 3,
            "gen_ai.conversation.id": "talk",
            "gen_ai.response.id": "gen-1",
            "gen_ai.response.model": "maker/m-2",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.reasoning.output_tokens": 2,
        }.items()
    )
    text = first.to_json() + echoing.to_json()
    assert key not in text
    assert "Hidden" not in text
    assert json.dumps(HELLO[0]["content"]) not in text


@pytest.mark.parametrize("name", list(ADAPTERS))
@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_the_adapters_measure_nothing_unless_asked(
    name: str, how: str, points: Any, gateway: LocalGateway
) -> None:
    ADAPTERS[name][how](_adapter(name, gateway))
    assert points() == {}
    ADAPTERS[name][how](_adapter(name, gateway, tracing=True))
    assert [point.count for point in points()["operation.duration"]] == [1]


def test_without_a_provider_nothing_is_measured() -> None:
    pytest.importorskip("opentelemetry.sdk")
    code = (
        "from opentelemetry import metrics\n"
        "from lunos_core.transport.telemetry import metric_observers\n"
        "from lunos_core import Config, chat_request\n"
        "asked = chat_request([{'role': 'user', 'content': 'Hi'}], model='m')\n"
        "assert metric_observers(asked, Config(api_key='k')) == ()\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "metrics.set_meter_provider(MeterProvider())\n"
        "assert len(metric_observers(asked, Config(api_key='k'))) == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
