"""OpenTelemetry: one client span for each call of a model, by the GenAI semantic conventions.

Nothing is imported here before someone has imported OpenTelemetry: without it the cost is one look
into `sys.modules`, and without a provider one question more.

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
    """What makes the span when the call is over; empty where no one traces."""
    if "opentelemetry.trace" not in sys.modules or request.model is None:
        return ()
    trace = sys.modules["opentelemetry.trace"]
    provider = trace.get_tracer_provider()
    # frameworks import OpenTelemetry unasked: spans that nobody has set a provider for would take
    # 20 µs each and go nowhere
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return ()
    tracer = provider.get_tracer("lunos_core")
    # of now: a stream may be closed in another context than it was opened in
    parent = importlib.import_module("opentelemetry.context").get_current()
    begun = time.time_ns()

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
        span.end()

    return (observe,)


def _attributes(call: CallRecord, operation: str, config: Config) -> dict[str, Any]:
    used = call.usage
    address = urlsplit(config.base_url)
    error = call.error
    found: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "lunos",
        "gen_ai.request.model": call.model,
        "server.address": address.hostname,
        "server.port": address.port,
        "lunos.app_id": call.app_id,
        "lunos.attempts": call.attempts,
        "lunos.first_token_seconds": call.first_token_seconds,
    }
    if used is not None:
        found |= {
            "gen_ai.usage.input_tokens": used.input_tokens,
            "gen_ai.usage.output_tokens": used.output_tokens,
            "lunos.cost": used.cost,
            "lunos.cost_source": used.cost_source,
        }
    if error is not None:
        found["error.type"] = str(error.status or type(error).__name__)
    return found
