"""The cost of a call, for tracers that have a field for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManager
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.schemas import Run
from typing_extensions import override


class CostTracer(LangChainTracer):
    """LangChain's tracer for LangSmith, which also sends the cost of a Lunos model's call."""

    @staticmethod
    @override
    def _update_run_single(run: Run) -> None:
        run.extra = langsmith_costs([{"outputs": run.outputs, "extra": run.extra}])[0]["extra"]
        LangChainTracer._update_run_single(run)


def with_costs(callbacks: Any) -> CallbackManager:
    """Return a call's callbacks, with a `CostTracer` in place of each of LangChain's tracers.

    LangSmith's client gets a run's usage in LangChain's form, which has no field for a cost.
    """
    manager = CallbackManager.configure(callbacks)  # adds the environment's tracer
    for handlers in (manager.handlers, manager.inheritable_handlers):
        for i, handler in enumerate(handlers):
            if type(handler) is LangChainTracer:  # not a user's subclass
                handlers[i] = tracer = CostTracer.__new__(CostTracer)
                vars(tracer).update(vars(handler))  # shares the runs in progress
    return manager


def langsmith_costs(runs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Put the cost that the gateway reported where LangSmith looks for it.

    LangSmith reads a run's cost from `usage_metadata["total_cost"]`. A message can't have it there:
    LangChain adds `usage_metadata` up as integers, and raises on a float. With LangChain's own
    tracer, Lunos models do this themselves; for other tracers pass this function to LangSmith's
    client. The client sends its buffer when `flush` is called, when the buffer is full, and with
    the first run after `run_ops_buffer_timeout_ms`.

    Args:
        runs: the runs that LangSmith's client is about to send.

    Returns:
        The same runs; those of a model whose answer has a cost also have it, in USD.

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
            info = generation.get("generation_info") or {}  # of a streamed text model
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
