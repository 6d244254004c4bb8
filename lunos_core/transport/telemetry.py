"""OpenTelemetry: one client span for each call of a model, by the GenAI semantic conventions.

OpenTelemetry is used where the application has imported it, and never imported from here: without
it this costs one look into `sys.modules`.

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

_OPERATIONS = {
    "/chat/completions": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
    "/images/generations": "generate_content",
    "/image/generations": "generate_content",
}


def span_observers(request: Outgoing, config: Config) -> tuple[Observer, ...]:
    """Return the observer that makes the call's span, or nothing where nobody traces."""
    if "opentelemetry.trace" not in sys.modules or request.model is None:
        return ()
    if config.tracing is False:
        return ()
    trace = sys.modules["opentelemetry.trace"]
    provider = trace.get_tracer_provider()
    # frameworks import OpenTelemetry unasked: without a provider a span costs 20 µs for nothing
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return ()
    tracer = provider.get_tracer("lunos_core")
    # taken now: a stream may be closed in another context than it was opened in
    parent = importlib.import_module("opentelemetry.context").get_current()
    begun, clock = time.time_ns(), time.monotonic_ns()

    def observe(call: CallRecord) -> None:
        operation = _OPERATIONS.get(call.endpoint, "transcription")
        span = tracer.start_span(
            f"{operation} {call.model}",
            context=parent,
            kind=trace.SpanKind.CLIENT,
            start_time=begun,
            attributes={
                name: value
                for name, value in _attributes(call, operation, config).items()
                if value is not None
            },
        )
        if call.error is not None:
            # the message alone: an exception event would carry the whole traceback and the answer
            span.set_status(trace.Status(trace.StatusCode.ERROR, call.error.message))
        # by a clock that nobody sets: a span that ends before it begins is dropped by some
        span.end(end_time=begun + time.monotonic_ns() - clock)

    return (observe,)


def _attributes(call: CallRecord, operation: str, config: Config) -> dict[str, Any]:
    usage = call.usage
    address = urlsplit(config.base_url)
    error = call.error
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "lunos",
        "gen_ai.request.model": call.model,
        "server.address": address.hostname,
        "server.port": address.port,
        "lunos.app_id": call.app_id,
        "lunos.attempts": call.attempts,
        "lunos.first_token_seconds": call.first_token_seconds,
    }
    if usage is not None:
        attributes |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            # no convention names a cost yet; this is what OpenLIT writes and Langfuse reads
            "gen_ai.usage.cost": usage.cost,
            "lunos.cost": usage.cost,
            "lunos.cost_source": usage.cost_source,
        }
    if error is not None:
        attributes["error.type"] = str(error.status or type(error).__name__)
    return attributes
