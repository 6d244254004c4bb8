"""The cost of a call, for tracers that have a place of their own for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManager
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.schemas import Run
from typing_extensions import override


class CostTracer(LangChainTracer):
    """LangChain's tracer for LangSmith, which also sends what a call of a Lunos model cost."""

    @staticmethod
    @override
    def _update_run_single(run: Run) -> None:
        run.extra = langsmith_costs([{"outputs": run.outputs, "extra": run.extra}])[0]["extra"]
        LangChainTracer._update_run_single(run)


def with_costs(callbacks: Any) -> CallbackManager:
    """Return a call's callbacks, with a `CostTracer` in place of each of LangChain's tracers.

    LangSmith's client is given the usage of a run as LangChain counts it, and LangChain has no
    place for a cost there.
    """
    manager = CallbackManager.configure(callbacks)  # which adds the tracer of the environment
    for handlers in (manager.handlers, manager.inheritable_handlers):
        for i, handler in enumerate(handlers):
            if type(handler) is LangChainTracer:  # a class of the user's own stays as it is
                handlers[i] = tracer = CostTracer.__new__(CostTracer)
                vars(tracer).update(vars(handler))  # they share the runs under way
    return manager


def langsmith_costs(runs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Put the cost that the gateway reported where LangSmith looks for it.

    LangSmith reads a run's cost from `usage_metadata["total_cost"]`. A message can't hold it there:
    LangChain adds `usage_metadata` up as integers, and raises on a float. With LangChain's own
    tracer, Lunos models see to it themselves; for other tracers this is a setting of LangSmith's
    client. It sends what it buffers when `flush` is called, when the buffer is full, and with the
    first run after `run_ops_buffer_timeout_ms`.

    Args:
        runs: what LangSmith's client is about to send.

    Returns:
        The same runs; those of a model whose answer has a cost carry it in USD.

    Example:
        >>> from langsmith import Client
        >>> from langchain_lunos import langsmith_costs
        >>> client = Client(
        ...     api_url="http://127.0.0.1:9",
        ...     api_key="ls-…",
        ...     process_buffered_run_ops=langsmith_costs,
        ...     run_ops_buffer_size=1,
        ... )
    """
    for run in runs:
        outputs: Mapping[str, Any] = run.get("outputs") or {}
        costs = list(_costs(outputs))
        if not costs:
            continue
        extra = run["extra"] = {**(run.get("extra") or {})}
        metadata = extra["metadata"] = {**(extra.get("metadata") or {})}
        usage = metadata.get("usage_metadata") or _counts(outputs)
        metadata["usage_metadata"] = {**usage, "total_cost": math.fsum(costs)}
    return runs


def _costs(outputs: Mapping[str, Any]) -> Iterator[float]:
    total = (outputs.get("llm_output") or {}).get("total_cost")
    if isinstance(total, int | float):
        yield total
        return
    for batch in outputs.get("generations") or ():
        for generation in batch:
            message = generation.get("message") or {}
            said = (message.get("kwargs") or {}).get("response_metadata") or {}
            info = generation.get("generation_info") or {}  # a text model's, streamed
            if said.get("model_provider") == "lunos" or "cost_source" in info:
                cost = said.get("cost", info.get("cost"))
                if isinstance(cost, int | float):
                    yield cost


def _counts(outputs: Mapping[str, Any]) -> dict[str, int]:
    counts = (outputs.get("llm_output") or {}).get("token_usage") or {}
    for batch in outputs.get("generations") or ():
        for generation in batch:
            counts = counts or (generation.get("generation_info") or {}).get("token_usage") or {}
    names = {
        "input_tokens": "prompt_tokens",
        "output_tokens": "completion_tokens",
        "total_tokens": "total_tokens",
    }
    return {name: counts[theirs] for name, theirs in names.items() if theirs in counts}
