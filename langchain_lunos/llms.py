"""`LunosLLM`: any text completion model behind Lunos, as a LangChain LLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import Field, model_validator

from langchain_lunos._connection import LunosConnection
from langchain_lunos._messages_out import to_token_usage
from langchain_lunos._serialization import make_loadable
from langchain_lunos._tracing import ls_params
from lunos_core import __version__, params
from lunos_core.answers import Choice, Chunk, Completion
from lunos_core.completions import completion_request, completion_stream_request
from lunos_core.request import Request
from lunos_core.usage import Usage

__all__ = ["LunosLLM"]


class LunosLLM(LunosConnection, BaseLLM):
    """A text completion model behind Lunos, on `/completions`.

    What is not set is not sent; the server's own default for `max_tokens` is 16.

    Example:
        >>> from langchain_lunos import LunosLLM
        >>> llm = LunosLLM(
        ...     model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url
        ... )
        >>> bool(llm.invoke("Once upon a time"))
        True

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        ValueError: a parameter out of range.
    """

    model: str = Field(alias="model_name")
    """The model's id."""
    temperature: float | None = None
    """Sampling temperature, 0 to 2."""
    max_tokens: int | None = None
    """The most tokens to generate; the server takes 16 when not given."""
    top_p: float | None = None
    """Nucleus sampling, 0 to 1."""
    presence_penalty: float | None = None
    """-2 to 2: above 0, new subjects are preferred."""
    frequency_penalty: float | None = None
    """-2 to 2: above 0, repetition is avoided."""
    n: int | None = None
    """How many answers for each prompt; not with streaming."""
    best_of: int | None = None
    """How many the server generates to choose from."""
    seed: int | None = None
    """For answers that repeat, as far as the provider can."""
    stop: list[str] | str | None = Field(default=None, alias="stop_sequences")
    """Where to stop; a call's own `stop` replaces it."""
    logprobs: int | None = None
    """Give the log probabilities of this many tokens, in `generation_info`."""
    logit_bias: dict[str, float] | None = None
    """Token id to bias, -100 to 100."""
    echo: bool | None = None
    """Give the prompt back in front of the answer."""
    suffix: str | None = None
    """What comes after the inserted text."""
    user: str | None = None
    """Your end user's id, for the provider's abuse checks."""
    observability: bool | None = None
    """True: Lunos keeps request and answer beside the query log row."""
    fallback_model: str | None = None
    """The model to ask once when `model` fails for good and nothing was delivered."""
    extra_body: dict[str, Any] | None = None
    """Fields for the body that this class does not know."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """The same; kept apart because LangChain's users know both names."""
    batch_size: int = Field(default=20, ge=1)
    """How many prompts go into one request."""
    streaming: bool = False
    """Stream behind `invoke` as well."""
    stream_usage: bool = True
    """Ask for the usage of streams."""
    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Asked before each request; LangChain's own LLM class has none."""

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        params.check_params(self._default_params, params.COMPLETION)
        if self.streaming and (self.n or 1) > 1:
            raise ValueError("n must be 1 with streaming: LangChain's streams carry one answer")
        return self

    @model_validator(mode="after")
    def _set_lunos_llm_version(self) -> Self:
        add_version = getattr(self, "_add_version", None)  # langchain-core 1.4 and newer
        if add_version is not None:
            add_version("lunos-integrations", __version__)
        return self

    @property
    def model_name(self) -> str:
        """`model`, under the name that it has in LangChain's OpenAI class."""
        return self.model

    @property
    def _llm_type(self) -> str:
        return "lunos"

    @property
    def _default_params(self) -> dict[str, Any]:
        values = self.__dict__
        found = {name: values[name] for name in _WIRE_FIELDS if values.get(name) is not None}
        return {**self.model_kwargs, **found}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self._config.base_url, **self._default_params}

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key is dumped by name."""
        return {"api_key": "LUNOS_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """`dumps` and `load` work."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where `load` finds the class."""
        return ["langchain_lunos", "llms"]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        found = super()._get_ls_params(stop=stop, **kwargs)
        app_id = kwargs.get("app_id") or self.app_id
        model = kwargs.get("model") or self.model
        tagged: LangSmithParams = ls_params(found, app_id=app_id, model=model)
        return tagged

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
        for request in self._requests(prompts, stop, kwargs):
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
        for request in self._requests(prompts, stop, kwargs):
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
        request = completion_stream_request(prompt, **self._stream_params(stop, kwargs))
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
        request = completion_stream_request(prompt, **self._stream_params(stop, kwargs))
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
        """As many prompts in one request as `batch_size` allows."""
        found = self._call_params(stop, kwargs)
        size = self.batch_size
        batches = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        return [
            completion_request(batch[0] if len(batch) == 1 else batch, **found) for batch in batches
        ]

    def _call_params(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        found = {"model": self.model, "app_id": self.app_id, **self._default_params, **kwargs}
        if stop is not None:
            found["stop"] = stop
        if self.extra_body:
            found["extra_body"] = {**self.extra_body, **(kwargs.get("extra_body") or {})}
        for name in ("stream", "stream_usage"):
            found.pop(name, None)
        if not found.get("stop"):
            found.pop("stop", None)
        return found

    def _stream_params(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        found = self._call_params(stop, kwargs)
        if (found.get("n") or 1) > 1:
            raise ValueError("n must be 1 when streaming: LangChain's streams carry one answer")
        if not kwargs.get("stream_usage", self.stream_usage):
            found.setdefault("stream_options", {})
        return found


make_loadable(LunosLLM)

_WIRE_FIELDS = tuple(name for name in LunosLLM.model_fields if name in params.COMPLETION)


def _to_result(answers: list[Completion], prompts: int, batch_size: int) -> LLMResult:
    """The answers of each prompt: `n` of them, in the order of the prompts."""
    generations: list[list[Generation]] = []
    usage: Usage | None = None
    for answer in answers:
        in_batch = min(batch_size, prompts - len(generations))
        each, odd = divmod(len(answer.choices), in_batch)
        if odd or not each:
            from langchain_lunos.errors import LunosResponseError

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
    return LLMResult(generations=generations, llm_output=_llm_output(usage, answers))


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
        known = {name: value for name, value in info.items() if value is not None}
        return GenerationChunk(text="", generation_info=known)
    if not event.choices or not event.text:
        return None
    return GenerationChunk(text=event.text)


def _streamed_result(chunks: list[GenerationChunk], model: str) -> LLMResult:
    info = chunks[-1].generation_info or {}
    text = "".join(chunk.text for chunk in chunks)
    generation = Generation(text=text, generation_info=info)
    output = {"token_usage": info.get("token_usage", {}), "model_name": model}
    return LLMResult(generations=[[generation]], llm_output=output)


def _llm_output(usage: Usage | None, answers: list[Completion]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "token_usage": {} if usage is None else to_token_usage(usage),
        "model_name": answers[-1].model if answers else None,
    }
    if usage is not None and usage.cost is not None:
        output["cost"] = usage.cost
    return output
