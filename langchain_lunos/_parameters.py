"""The parameters that the chat model and the LLM share, and those of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from pydantic import AliasChoices, Field, model_validator

from langchain_lunos._app_id import app_id_of_call
from langchain_lunos._settings import CHECKED_IN_CALLS, LunosConnection, check_call
from langchain_lunos.errors import LANGCHAIN_ERRORS
from lunos_core import __version__
from lunos_core.accounting.token_estimate import estimate_tokens
from lunos_core.adapters import check_more, refuse_impossible
from lunos_core.endpoints import params
from lunos_core.endpoints.build import check_params, merge_options
from lunos_core.endpoints.params import Check
from lunos_core.endpoints.server_tools import Plugins, WebSearchSetting

RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None


class LunosModel(LunosConnection):
    """The fields of a model that generates, and how a call's arguments override them."""

    _checks: ClassVar[Mapping[str, Check]] = {}
    """The endpoint's parameters, each with its check."""
    _wire_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that are parameters of the endpoint."""

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/gpt-4o"."""
    temperature: float | None = None
    """Sampling temperature, 0 to 2."""
    max_tokens: int | None = None
    """The most tokens to generate."""
    top_p: float | None = None
    """Nucleus sampling, 0 to 1."""
    presence_penalty: float | None = None
    """-2 to 2: values above 0 favour new subjects."""
    frequency_penalty: float | None = None
    """-2 to 2: values above 0 discourage repetition."""
    n: int | None = None
    """How many answers to generate; not with streaming."""
    seed: int | None = None
    """For repeatable answers, as far as the provider supports it."""
    stop: list[str] | str | None = Field(
        default=None, validation_alias=AliasChoices("stop", "stop_sequences")
    )
    """Where to stop; a call's own `stop` replaces it."""
    logit_bias: dict[str, float] | None = None
    """A bias for each token id, -100 to 100."""
    user: str | None = None
    """Your end user's id, for the provider's abuse checks."""
    observability: bool | None = None
    """True: Lunos keeps request and answer beside the query log row."""
    fallback_model: str | None = None
    """The model to try once if `model` fails permanently before delivering anything."""
    extra_query: dict[str, Any] | None = None
    """Parameters of the URL's query; those of a call are added."""
    extra_body: dict[str, Any] | None = None
    """Fields of the request body that this class doesn't know. Bound fields and those of a call
    are added to the constructor's; a call's replace the bound ones, as with every argument."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """The same; a separate field because LangChain's users know both names."""
    preflight: bool = True
    """With a catalog: refuse before sending what the model is known not to support."""
    streaming: bool = False
    """Stream inside `invoke` too."""
    stream_usage: bool | None = True
    """Ask for the usage of streams; `None` means the default, True."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._wire_fields = tuple(name for name in cls.model_fields if name in cls._checks)

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        check_params(self._default_params, self._checks)
        check_more("model_kwargs", self.model_kwargs)
        if self.streaming and self.n not in (None, 1):
            raise ValueError(_ONE_STREAM)
        return self

    @model_validator(mode="after")
    def _set_lunos_version(self) -> Self:
        add_version = getattr(self, "_add_version", None)  # langchain-core 1.4 and newer
        if add_version is not None:
            add_version("lunos-integrations", __version__)
        return self

    @property
    def model_name(self) -> str:
        """`model` under the name that LangChain's OpenAI classes use."""
        return self.model

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, which dumps refer to by its variable's name."""
        return {"api_key": "LUNOS_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: `dumps` and `load` work."""
        return True

    def get_token_ids(self, text: str) -> list[int]:
        """Return the tokens of `text` by `custom_get_token_ids`.

        Raises:
            NotImplementedError: it isn't set; models behind a gateway have different tokenizers,
                and none is downloaded. `get_num_tokens` needs none: it estimates.
        """
        own: Callable[[str], list[int]] | None = getattr(self, "custom_get_token_ids", None)
        if own is not None:
            return own(text)
        raise NotImplementedError(
            "each model behind Lunos has its own tokenizer: pass custom_get_token_ids=… to name "
            "one, or use get_num_tokens, which estimates"
        )

    def get_num_tokens(self, text: str) -> int:
        """Return how many tokens `text` has, estimated by its scripts, without any download."""
        own: Callable[[str], list[int]] | None = getattr(self, "custom_get_token_ids", None)
        return estimate_tokens(text) if own is None else len(own(text))

    @property
    def _default_params(self) -> dict[str, Any]:
        values = self.__dict__
        params = {name: values[name] for name in self._wire_fields if values.get(name) is not None}
        return {**self.model_kwargs, **params}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "base_url": self._clients.config.base_url,
            **self._default_params,
            **({"extra_body": self.extra_body} if self.extra_body else {}),
        }

    def _call_params(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if not CHECKED_IN_CALLS.isdisjoint(kwargs):
            check_call(kwargs)
        more = kwargs.get("model_kwargs") or {}
        params = {"model": self.model, **self._default_params, **more, **kwargs}
        if params["model"] is None:
            params["model"] = self.model
        if stop is not None:
            params["stop"] = stop
        params["app_id"] = self._app_id(kwargs)
        merge_options(params, self.model_kwargs, self.__dict__, more, kwargs)
        for name in _NOT_ON_THE_WIRE:
            params.pop(name, None)
        if not params.get("stop"):
            params.pop("stop", None)
        return params

    def _stream_params(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        params = self._call_params(stop, kwargs)
        if (params.get("n") or 1) > 1:
            raise ValueError(_ONE_STREAM)
        if kwargs.get("stream_usage", self.stream_usage) is False:
            params.setdefault("stream_options", {})
        return params

    def _app_id(self, kwargs: Mapping[str, Any]) -> str | None:
        """Return the application of one call; examples/docs/app-ids.md has the precedence."""
        return app_id_of_call(kwargs, self.app_id)

    def _refuse_impossible(self, content: Any, params: Mapping[str, Any]) -> None:
        if self.preflight and self.catalog is not None:
            refuse_impossible(
                self.catalog, content, params, model=params["model"], errors=LANGCHAIN_ERRORS
            )


class ChatParameters(LunosModel):
    """The parameters of chat models only."""

    _checks = params.CHAT

    max_completion_tokens: int | None = None
    """`max_tokens` under OpenAI's newer name; it counts reasoning too."""
    logprobs: bool | None = None
    """Return the log probabilities of the tokens in `response_metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """The number of alternatives for each token, 0 to 20; needs `logprobs`."""
    reasoning: dict[str, Any] | None = None
    """How much to reason: `{"effort": "low" | "medium" | "high"}` or `{"max_tokens": …}`. Add
    `"exclude": True` to keep the reasoning out of the answer."""
    reasoning_effort: str | None = None
    """The effort alone, as in OpenAI's API."""
    modalities: list[str] | None = None
    """What to answer with: `["image", "text"]` for generated images."""
    audio: dict[str, Any] | None = None
    """`{"voice": …, "format": …}` for spoken answers."""
    image_config: dict[str, Any] | None = None
    """`{"aspect_ratio": …, "image_size": …}` for generated images."""
    plugins: Plugins | None = None
    """`[{"id": "file-parser", "pdf": {"engine": …}}]`: how PDFs are read, by "mistral-ocr",
    "cloudflare-ai" or "native" (the model itself)."""
    parallel_tool_calls: bool | None = None
    """Whether the model may ask for several tool calls at once; sent only with tools."""
    top_k: int | None = None
    """Sample from this many of the likeliest tokens, if the provider supports it."""
    min_p: float | None = None
    """Leave out tokens below this share of the likeliest token's probability, 0 to 1."""
    verbosity: str | None = None
    """How long answers are: "low", "medium" or "high", for models that support it."""
    prediction: dict[str, Any] | None = None
    """`{"type": "content", "content": …}`: text that the answer will mostly repeat."""
    web_search: WebSearchSetting = None
    """Let the server search the web: True, or the search tool's parameters
    (`lunos_core.WebSearch`): `engine`, `max_results`, `max_total_results`, `search_context_size`,
    `allowed_domains` and `excluded_domains`."""
    cache_control: bool | dict[str, Any] | None = None
    """True marks the last tool, the system message and the last message for the provider's prompt
    cache, as Claude models require; a dict such as `{"type": "ephemeral", "ttl": "1h"}` is the mark
    itself."""
    prompt_cache_key: str | None = None
    """Requests with the same key are likelier to hit the same prompt cache."""
    session_id: str | None = None
    """Groups the requests of one conversation in the gateway."""
    provider: dict[str, Any] | None = None
    """Which providers may serve the model, and in which order, such as `{"order": ["azure"]}`."""
    models: list[str] | None = None
    """Models that the server tries, in this order, when `model` fails."""
    service_tier: str | None = None
    """The provider's tier, such as "flex" or "priority"."""


_ONE_STREAM = "n must be 1 when streaming: LangChain's streams carry one answer"
_NOT_ON_THE_WIRE = (
    "stream",
    "stream_usage",
    "strict",
    "ls_structured_output_format",
    "model_kwargs",
)
