"""OpenTelemetry's metrics of calls, by the GenAI semantic conventions.

As with spans, this imports no OpenTelemetry, and records nothing without a provider.

Source of names and buckets: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple

from lunos_core.accounting.observers import CallRecord, Observer
from lunos_core.config import Config
from lunos_core.request import Outgoing
from lunos_core.transport.telemetry import common_attributes, known

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
        attributes = known(common_attributes(call, config), config)
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
