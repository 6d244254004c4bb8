"""OpenTelemetry: one client span for each call of a model, by the GenAI semantic conventions.

OpenTelemetry is used if the application has imported it, and never imported here: without it the
cost is one lookup in `sys.modules`.

Source of the names: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (attributes `gen_ai.*`).
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any
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
            attributes=known(
                {**common_attributes(call, config), **_of_request(request), **_of_answer(call)},
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


def known(attributes: dict[str, Any], config: Config) -> dict[str, Any]:
    """Leave out unknown values, and remove the key, which a server may repeat in an id."""
    key = config.known_key
    return {
        name: scrub(value, key) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }


def common_attributes(call: CallRecord, config: Config) -> dict[str, Any]:
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
