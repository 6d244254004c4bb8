"""The GenAI conventions' metrics and attributes, where the application has set providers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    Client,
    Config,
    LunosConnectionError,
    LunosServerError,
    chat_request,
    chat_stream_request,
    completion_request,
    embedding_request,
    image_request,
    models_request,
    transcription_request,
)
from tests.core.transport.test_telemetry import ADAPTERS, _adapter
from tests.core.transport.test_telemetry import spans as spans
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

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
    (between,) = measured["operation.time_per_output_chunk"]
    assert between.count == 2
    assert 0 <= between.sum <= sum(point.sum for point in duration)


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


PARAMETERS = {
    "top_k": "top_k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": "choice.count",
}


@pytest.mark.parametrize(("sent", "named"), PARAMETERS.items())
async def test_a_parameter_has_the_conventions_name(
    both: Both, spans: Any, sent: str, named: str
) -> None:
    client = both.client(Wire(reply(ANSWER)), base_url="https://lunos.test:8443/v1")
    given: Any = {sent: 2}
    await both(client.send(chat_request(HELLO, model="m", **given)))
    (span,) = spans.get_finished_spans()
    told = {key.removeprefix("gen_ai.request."): value for key, value in span.attributes.items()}
    assert told[named] == 2
    assert not told.keys() & ({*PARAMETERS.values()} - {named})
    assert (told["server.address"], told["server.port"]) == ("lunos.test", 8443)
    assert not told.keys() & {"stream", "temperature", "max_tokens", "gen_ai.conversation.id"}


VECTOR = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 7}}
PICTURE = {"data": [{"url": "https://x.test/a.png"}], "usage": {"prompt_tokens": 7}}
OPERATIONS = [
    (chat_request(HELLO, model="m"), ANSWER, "chat", {"input": 9, "output": 3}),
    (
        completion_request("x", model="m"),
        {"choices": [{"text": "Hi"}], "usage": {"prompt_tokens": 7, "completion_tokens": 0}},
        "text_completion",
        {"input": 7, "output": 0},
    ),
    (embedding_request("x", model="m"), VECTOR, "embeddings", {"input": 7}),
    (image_request("x", model="m"), PICTURE, "generate_content", {"input": 7, "output": 0}),
    (transcription_request(b"RIFF", model="m"), {"text": "Hi"}, "transcription", {}),
]


@pytest.mark.parametrize(
    ("request_", "answer", "operation", "tokens"), OPERATIONS, ids=[case[2] for case in OPERATIONS]
)
async def test_each_endpoint_has_the_conventions_operation_and_counts(
    both: Both,
    spans: Any,
    points: Any,
    request_: Any,
    answer: Any,
    operation: str,
    tokens: dict[str, int],
) -> None:
    await both(both.client(Wire(reply(answer))).send(request_))
    (span,) = spans.get_finished_spans()
    assert span.name == f"{operation} m"
    measured = points()
    (duration,) = measured["operation.duration"]
    assert duration.attributes["gen_ai.operation.name"] == operation
    assert span.attributes["gen_ai.operation.name"] == operation
    told = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in measured.get("token.usage", [])
    }
    assert told == tokens
    assert not measured.keys() & {"operation.time_to_first_chunk"}


async def test_what_asks_no_model_and_what_is_switched_off_is_not_told(
    both: Both, spans: Any, points: Any
) -> None:
    wire = Wire(reply([{"id": "m"}]), reply(ANSWER))
    await both(both.client(wire).send(models_request()))
    await both(both.client(wire, tracing=False).send(chat_request(HELLO, model="m")))
    assert len(wire.requests) == 2
    assert spans.get_finished_spans() == ()
    assert points() == {}


async def test_a_failure_without_a_status_is_told_by_its_kind(
    both: Both, spans: Any, points: Any
) -> None:
    client = both.client(Wire(httpx.ConnectError("refused")), max_retries=0)
    with pytest.raises(LunosConnectionError):
        await both(client.send(chat_request(HELLO, model="m")))
    (span,) = spans.get_finished_spans()
    assert span.attributes["error.type"] == "LunosConnectionError"
    assert span.status.status_code.name == "ERROR"
    assert "gen_ai.response.finish_reasons" not in span.attributes
    (duration,) = points()["operation.duration"]
    assert duration.attributes["error.type"] == "LunosConnectionError"


async def test_tokens_written_to_a_cache_are_told(both: Both, spans: Any) -> None:
    usage = {"input_tokens": 9, "output_tokens": 4, "cache_creation_input_tokens": 5}
    client = both.client(Wire(reply({**ANSWER, "usage": usage})))
    await both(client.send(chat_request(HELLO, model="m")))
    (span,) = spans.get_finished_spans()
    assert span.attributes["gen_ai.usage.cache_creation.input_tokens"] == 5
    assert "gen_ai.usage.reasoning.output_tokens" not in span.attributes


@pytest.mark.parametrize("body", [b'"text"', b"no JSON", b'{"temperature": true, "seed": "7"}'])
async def test_a_body_of_the_callers_own_is_sent_and_what_it_asks_is_not_guessed(
    both: Both, spans: Any, body: bytes
) -> None:
    wire = Wire(reply(stored("chat")))
    request = dataclasses.replace(chat_request(HELLO, model="m", temperature=1), body=body)
    await both(both.client(wire).send(request))
    assert wire.sent.content == body
    (span,) = spans.get_finished_spans()
    asked = [name for name in span.attributes if name.startswith("gen_ai.request.")]
    assert asked == ["gen_ai.request.model"]


def test_instruments_have_the_conventions_names_units_and_are_made_once(points: Any) -> None:
    from opentelemetry import metrics

    class Old:
        """A provider before 1.30, which takes no buckets."""

        def __init__(self) -> None:
            self.made: list[tuple[str, str]] = []

        def get_meter(self, name: str) -> Any:
            return self

        def create_histogram(self, name: str, unit: str = "", description: str = "") -> Any:
            assert description.endswith(".")
            self.made.append((name, unit))
            return self

        def record(self, value: float, attributes: Any) -> None:
            pass

    old = Old()
    with (
        pytest.MonkeyPatch.context() as patch,
        httpx.Client(transport=httpx.MockTransport(Wire(reply(ANSWER)))) as http,
    ):
        patch.setattr(metrics, "get_meter_provider", lambda: old)
        client = Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http)
        for _ in range(2):
            client.send(chat_request(HELLO, model="m"))
    assert old.made == [
        ("gen_ai.client.operation.duration", "s"),
        ("gen_ai.client.token.usage", "{token}"),
        ("gen_ai.client.operation.time_to_first_chunk", "s"),
        ("gen_ai.client.operation.time_per_output_chunk", "s"),
    ]


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
