"""`LunosLLM`: any text completion model behind Lunos, as a LangChain LLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable
from pydantic import Field

from langchain_lunos._app_id import (
    AppIdFromConfig,
    ls_params,
    refuse_trio,
    traced,
    with_config_app_id,
    with_run,
    with_tags,
)
from langchain_lunos._parameters import LunosModel
from langchain_lunos._results import PROVIDER, to_token_usage
from langchain_lunos._settings import config_app_id
from langchain_lunos.errors import LunosResponseError
from langchain_lunos.registration import make_loadable
from lunos_core.accounting.usage import Usage
from lunos_core.endpoints import params
from lunos_core.endpoints.chat.requests import completion_request, completion_stream_request
from lunos_core.endpoints.chat.types import Choice, Chunk, Completion
from lunos_core.request import Request

__all__ = ["LunosLLM"]


class LunosLLM(LunosModel, AppIdFromConfig[str, str], BaseLLM, defer_build=False):
    """A text completion model behind Lunos, on `/completions`.

    Parameters that aren't set aren't sent; the server's default for `max_tokens` is 16.

    Example:
        >>> from langchain_lunos import LunosLLM
        >>> llm = LunosLLM(model="lunos/scripted")
        >>> bool(llm.invoke("Once upon a time"))
        True

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        ValueError: a parameter out of range.
    """

    _checks = params.COMPLETION

    best_of: int | None = None
    """How many answers the server generates to choose the best from."""
    logprobs: int | None = None
    """Return the log probabilities of this many tokens, in `generation_info`."""
    echo: bool | None = None
    """Return the prompt in front of the answer."""
    suffix: str | None = None
    """The text that follows the generated text."""
    batch_size: int = Field(default=20, ge=1)
    """How many prompts go into one request."""
    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Waits before each request; LangChain's LLM class has no rate limiter."""

    @property
    def _llm_type(self) -> str:
        return "lunos"

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return where `load` finds the class."""
        return ["langchain_lunos", "llms"]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        model = kwargs.get("model") or self.model
        tagged: LangSmithParams = ls_params(params, app_id=self._app_id(kwargs), model=model)
        return tagged

    def generate(
        self, prompts: list[str], stop: Any = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        kwargs["tags"] = self._tags(kwargs, callbacks, len(prompts))
        llm, others = self._for_cache(kwargs)
        return super(LunosLLM, llm).generate(prompts, stop, traced(callbacks), **others)

    async def agenerate(
        self, prompts: list[str], stop: Any = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        refuse_trio()
        kwargs["tags"] = self._tags(kwargs, callbacks, len(prompts))
        llm, others = self._for_cache(kwargs)
        return await super(LunosLLM, llm).agenerate(prompts, stop, traced(callbacks), **others)

    def batch(self, inputs: Any, config: Any = None, **kwargs: Any) -> list[str]:
        """As LangChain's; different applications get separate requests."""
        if _for_several(config, kwargs):
            return Runnable.batch(self, inputs, config, **kwargs)
        return super().batch(inputs, config, **with_config_app_id(kwargs, _first(config)))

    async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> list[str]:
        """`batch`, awaited."""
        refuse_trio()
        if _for_several(config, kwargs):
            return await Runnable.abatch(self, inputs, config, **kwargs)
        return await super().abatch(inputs, config, **with_config_app_id(kwargs, _first(config)))

    def _for_cache(self, kwargs: dict[str, Any]) -> tuple[LunosLLM, dict[str, Any]]:
        """Return the LLM that makes a call, and the remaining arguments.

        LangChain's cache identifies an LLM by its fields only: it would ignore a parameter of a
        single call, and return another call's answer.
        """
        own = {name: value for name, value in kwargs.items() if name not in _NO_PARAMETERS}
        if not own or not (self.cache if self.cache is not None else get_llm_cache()):
            return self, kwargs
        fields = {
            name: value
            for name, value in own.items()
            if name in type(self).model_fields and value is not None
        }
        new = {name: value for name, value in own.items() if name not in type(self).model_fields}
        fields["model_kwargs"] = {**self.model_kwargs, **(own.get("model_kwargs") or {}), **new}
        fields["extra_body"] = {**(self.extra_body or {}), **(own.get("extra_body") or {})} or None
        others = {name: value for name, value in kwargs.items() if name in _NO_PARAMETERS}
        return self.model_copy(update=fields), others

    def _tags(self, kwargs: dict[str, Any], callbacks: Any, prompts: int) -> Any:
        tags, app_id = kwargs.get("tags"), self._app_id(kwargs)
        return with_tags(tags, app_id, callbacks=callbacks, prompts=prompts)

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        if self.streaming and len(prompts) == 1:
            chunks = list(self._stream(prompts[0], stop, run_manager, **kwargs))
            return _streamed_result(chunks, self.model)
        answers = []
        for request in self._requests(prompts, stop, with_run(kwargs, run_manager)):
            if self.rate_limiter:
                self.rate_limiter.acquire(blocking=True)
            answers.append(self.client.send(request))
        return _to_result(answers, len(prompts), self.batch_size)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        if self.streaming and len(prompts) == 1:
            chunks = [
                chunk async for chunk in self._astream(prompts[0], stop, run_manager, **kwargs)
            ]
            return _streamed_result(chunks, self.model)
        answers = []
        for request in self._requests(prompts, stop, with_run(kwargs, run_manager)):
            if self.rate_limiter:
                await self.rate_limiter.aacquire(blocking=True)
            answers.append(await self.async_client.send(request))
        return _to_result(answers, len(prompts), self.batch_size)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        params = self._stream_params(stop, with_run(kwargs, run_manager))
        self._refuse_impossible(prompt, params)
        request = completion_stream_request(prompt, **params)
        if self.rate_limiter:
            self.rate_limiter.acquire(blocking=True)
        with self.client.stream(request) as stream:
            for event in stream:
                chunk = _to_chunk(event)
                if chunk is None:
                    continue
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        params = self._stream_params(stop, with_run(kwargs, run_manager))
        self._refuse_impossible(prompt, params)
        request = completion_stream_request(prompt, **params)
        if self.rate_limiter:
            await self.rate_limiter.aacquire(blocking=True)
        async with await self.async_client.stream(request) as stream:
            async for event in stream:
                chunk = _to_chunk(event)
                if chunk is None:
                    continue
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _requests(
        self, prompts: list[str], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> list[Request[Completion]]:
        params = self._call_params(stop, kwargs)
        self._refuse_impossible(prompts, params)
        size = self.batch_size
        batches = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        return [
            completion_request(batch[0] if len(batch) == 1 else batch, **params)
            for batch in batches
        ]


make_loadable("llms", "LunosLLM")

# arguments of `generate` that don't change the answer
_NO_PARAMETERS = frozenset(
    {"tags", "metadata", "run_name", "run_id", "app_id", "timeout", "extra_headers"}
)


def _for_several(config: Any, kwargs: dict[str, Any]) -> bool:
    if kwargs.get("app_id") is not None or not isinstance(config, list):
        return False
    return len({config_app_id(each) for each in config}) > 1


def _first(config: Any) -> Any:
    return (config[0] if config else None) if isinstance(config, list) else config


def _to_result(answers: list[Completion], prompts: int, batch_size: int) -> LLMResult:
    generations: list[list[Generation]] = []
    usage: Usage | None = None
    for answer in answers:
        in_batch = min(batch_size, prompts - len(generations))
        each, odd = divmod(len(answer.choices), in_batch)
        if odd:
            raise LunosResponseError(
                f"{len(answer.choices)} answers came for {in_batch} prompts",
                request_id=answer.request_id,
                model=answer.model,
            )
        for start in range(0, len(answer.choices), each):
            part = answer.choices[start : start + each]
            generations.append([_to_generation(answer, choice) for choice in part])
        if answer.usage is not None:
            usage = answer.usage if usage is None else usage + answer.usage
    return _Result(generations=generations, llm_output=_llm_output(usage, answers))


class _Result(LLMResult):
    """The answers of several prompts, with the cost of all of them."""

    def flatten(self) -> list[LLMResult]:
        first, *others = super().flatten()
        for other in others:
            for name in ("cost", "cost_source", "total_cost"):
                (other.llm_output or {}).pop(name, None)
        return [first, *others]


def _to_generation(answer: Completion, choice: Choice) -> Generation:
    info = {"finish_reason": choice.finish_reason, "logprobs": choice.logprobs}
    return Generation(text=choice.text, generation_info={**info, "model_name": answer.model})


def _to_chunk(event: Chunk) -> GenerationChunk | None:
    if event.last is not None:
        choice = event.last.choices[0] if event.last.choices else None
        info: dict[str, Any] = {
            "finish_reason": choice.finish_reason if choice else None,
            "model_name": event.last.model,
        }
        if event.last.usage is not None:
            info["token_usage"] = to_token_usage(event.last.usage)
            info["cost"] = event.last.usage.cost
            info["cost_source"] = event.last.usage.cost_source
        if choice is not None and choice.logprobs is not None:
            info["logprobs"] = choice.logprobs
        known = {name: value for name, value in info.items() if value is not None}
        return GenerationChunk(text="", generation_info=known)
    if not event.choices or not event.text:
        return None
    return GenerationChunk(text=event.text)


def _streamed_result(chunks: list[GenerationChunk], model: str) -> LLMResult:
    info = chunks[-1].generation_info or {}
    text = "".join(chunk.text for chunk in chunks)
    generation = Generation(text=text, generation_info=info)
    output = {
        "token_usage": info.get("token_usage", {}),
        "model_name": info.get("model_name", model),
        "model_provider": PROVIDER,
    }
    output |= {name: info[name] for name in ("cost", "cost_source") if name in info}
    output |= {"total_cost": info["cost"]} if "cost" in info else {}
    return LLMResult(generations=[[generation]], llm_output=output)


def _llm_output(usage: Usage | None, answers: list[Completion]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "token_usage": {} if usage is None else to_token_usage(usage),
        "model_name": answers[-1].model if answers else None,
        "model_provider": PROVIDER,
    }
    if usage is not None and usage.cost is not None:
        output["cost"] = output["total_cost"] = usage.cost  # our name, and LangSmith's
        output["cost_source"] = usage.cost_source
    return output
