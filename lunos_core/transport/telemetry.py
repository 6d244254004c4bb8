"""OpenTelemetry: a client span and metrics of each call, by the GenAI semantic conventions.

OpenTelemetry is used if the application has imported it, and never imported here: without it the
cost is one lookup in `sys.modules`.

Source of the names: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (attributes `gen_ai.*`),
and gen-ai-metrics/ there for the metrics and their buckets.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lunos_core.accounting.observers import CallRecord, Observer
from lunos_core.config import Config
from lunos_core.request import Outgoing
from lunos_core.wire import json
from lunos_core.wire.scrub import scrub

_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "n": "choice.count",
}
_MOST_BYTES = 1_000_000  # parsing a larger body for its parameters takes milliseconds

_OPERATIONS = {
    "/chat/completions": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
    "/images/generations": "generate_content",
    "/image/generations": "generate_content",
}


def span_observers(request: Outgoing, config: Config) -> tuple[Observer, ...]:
    """Return the observer that makes the call's span, if there is a provider."""
    if "opentelemetry.trace" not in sys.modules or request.model is None:
        return ()
    if config.tracing is False:
        return ()
    trace = sys.modules["opentelemetry.trace"]
    provider = trace.get_tracer_provider()
    # frameworks import OpenTelemetry by themselves: without a provider 20 µs would be wasted
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return ()
    tracer = provider.get_tracer("lunos_core")
    # read now: a stream may be closed in another context
    parent = importlib.import_module("opentelemetry.context").get_current()
    begun, clock = time.time_ns(), time.monotonic_ns()

    def observe(call: CallRecord) -> None:
        operation = operation_of(call.endpoint)
        span = tracer.start_span(
            f"{operation} {call.model}",
            context=parent,
            kind=trace.SpanKind.CLIENT,
            start_time=begun,
            attributes=_known(
                {**_common_attributes(call, config), **_of_request(request), **_of_answer(call)},
                config,
            ),
        )
        if call.error is not None:
            # only the message: an exception event would have the whole traceback and the answer
            span.set_status(trace.Status(trace.StatusCode.ERROR, call.error.message))
        # by a monotonic clock: some backends drop a span that ends before it begins
        span.end(end_time=begun + time.monotonic_ns() - clock)

    return (observe,)


def operation_of(endpoint: str) -> str:
    """Return the conventions' name of an endpoint's operation."""
    return _OPERATIONS.get(endpoint, "transcription")


def _known(attributes: dict[str, Any], config: Config) -> dict[str, Any]:
    """Leave out unknown values, and remove the key, which a server may repeat in an id."""
    key = config.known_key
    return {
        name: scrub(value, key) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }


def _common_attributes(call: CallRecord, config: Config) -> dict[str, Any]:
    """Return the attributes that spans and metrics share; unknown values are `None`."""
    address = urlsplit(config.base_url)
    error = call.error
    return {
        "gen_ai.operation.name": operation_of(call.endpoint),
        "gen_ai.provider.name": "lunos",
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.served,
        "server.address": address.hostname,
        "server.port": address.port,
        "lunos.app_id": call.app_id,
        "error.type": None if error is None else str(error.status or type(error).__name__),
    }


def _of_request(request: Outgoing) -> dict[str, Any]:
    attributes: dict[str, Any] = {"gen_ai.request.max_tokens": request.max_tokens}
    if request.content_type != "application/json" or len(request.body) > _MOST_BYTES:
        return attributes
    try:
        body = json.loads(request.body)
    except ValueError:  # the caller's own body
        return attributes
    if not isinstance(body, dict):
        return attributes
    for name, convention in _PARAMETERS.items():
        if type(body.get(name)) in (int, float):
            attributes[f"gen_ai.request.{convention}"] = body[name]
    if body.get("stream") is True:
        attributes["gen_ai.request.stream"] = True
    if isinstance(body.get("session_id"), str):
        attributes["gen_ai.conversation.id"] = body["session_id"]
    return attributes


def _of_answer(call: CallRecord) -> dict[str, Any]:
    usage = call.usage
    attributes: dict[str, Any] = {
        "gen_ai.response.id": call.response_id,
        "gen_ai.response.finish_reasons": call.finish_reasons or None,
        "gen_ai.response.time_to_first_chunk": call.first_token_seconds,
        "lunos.attempts": call.attempts,
        "lunos.first_token_seconds": call.first_token_seconds,
    }
    if usage is not None:
        attributes |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            # there is no convention for a cost yet; OpenLIT writes this name and Langfuse reads it
            "gen_ai.usage.cost": usage.cost,
            "lunos.cost": usage.cost,
            "lunos.cost_source": usage.cost_source,
        }
    return attributes


_SECONDS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(4**power for power in range(14))
_OPERATION = "gen_ai.client.operation."


class _Histograms(NamedTuple):
    duration: Any
    tokens: Any
    first_chunk: Any
    next_chunk: Any


def metric_observers(request: Outgoing, config: Config) -> tuple[Observer, ...]:
    """Return the observer that records the call's metrics, if there is a provider."""
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None or request.model is None or config.tracing is False:
        return ()
    provider = metrics.get_meter_provider()
    # the API's own providers, including the proxy, record nothing
    if type(provider).__module__.startswith("opentelemetry.metrics"):
        return ()
    histograms = _histograms(provider)

    def observe(call: CallRecord) -> None:
        attributes = _known(_common_attributes(call, config), config)
        histograms.duration.record(call.seconds, attributes)
        if call.first_token_seconds is not None:
            histograms.first_chunk.record(call.first_token_seconds, attributes)
        for seconds in call.chunk_seconds:
            histograms.next_chunk.record(seconds, attributes)
        if call.usage is not None:
            kind = {"gen_ai.token.type": "input"}
            histograms.tokens.record(call.usage.input_tokens, attributes | kind)
            if call.usage.output_tokens or call.endpoint != "/embeddings":
                kind = {"gen_ai.token.type": "output"}
                histograms.tokens.record(call.usage.output_tokens, attributes | kind)

    return (observe,)


@functools.lru_cache(maxsize=4)  # the SDK warns about duplicate instruments
def _histograms(provider: Any) -> _Histograms:
    meter = provider.get_meter("lunos_core")

    def histogram(name: str, unit: str, description: str, buckets: tuple[float, ...]) -> Any:
        try:
            return meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=buckets
            )
        except TypeError:  # before 1.30
            return meter.create_histogram(name, unit, description)

    return _Histograms(
        histogram(_OPERATION + "duration", "s", "GenAI operation duration.", _SECONDS),
        histogram(
            *("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used."),
            _TOKENS,
        ),
        histogram(
            *(_OPERATION + "time_to_first_chunk", "s", "Time to receive the first chunk."),
            _SECONDS,
        ),
        histogram(
            *(_OPERATION + "time_per_output_chunk", "s", "Time per output chunk after the first."),
            _SECONDS,
        ),
    )
