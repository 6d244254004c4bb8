"""The wire's parameters as settings, and the parameters that one call sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseComponent

from llama_index_lunos._settings import run_options
from lunos_core.adapters import check_more
from lunos_core.endpoints.build import check_params, merge_options
from lunos_core.endpoints.params import CHAT
from lunos_core.endpoints.server_tools import Plugins, WebSearchSetting

# both endpoints take these
_SAMPLING = (
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "user",
    "fallback_model",
    "observability",
    "models",
    "provider",
    "service_tier",
    "session_id",
    "top_k",
    "min_p",
)
# only `/chat/completions` takes these
_CHAT = (
    "logprobs",
    "top_logprobs",
    "reasoning",
    "reasoning_effort",
    "modalities",
    "image_config",
    "plugins",
    "cache_control",
    "prompt_cache_key",
    "verbosity",
    "prediction",
    "web_search",
)
# LlamaIndex's own, which some of its callers pass along
_NOT_ON_THE_WIRE = ("verbose", "formatted", "model")


class Parameters(BaseComponent):
    """The parameters of chats and completions. Only those that were set are sent."""

    temperature: float | None = Field(
        default=None, description="0 to 2. Not sent unless set: reasoning models refuse it."
    )
    max_tokens: int | None = Field(default=None, description="The longest answer, in tokens.")
    top_p: float | None = Field(default=None, description="Nucleus sampling, 0 to 1.")
    top_k: int | None = Field(default=None, description="Sample from this many tokens only.")
    min_p: float | None = Field(
        default=None,
        description="Leave out tokens below this share of the likeliest one's, 0 to 1.",
    )
    stop: str | list[str] | None = Field(default=None, description="Texts that end the answer.")
    seed: int | None = Field(default=None, description="For reproducible answers.")
    frequency_penalty: float | None = Field(default=None, description="-2 to 2.")
    presence_penalty: float | None = Field(default=None, description="-2 to 2.")
    logit_bias: dict[str, float] | None = Field(
        default=None, description="Token id to bias, -100 to 100."
    )
    logprobs: bool | None = Field(default=None, description="Return the tokens' probabilities.")
    top_logprobs: int | None = Field(default=None, description="For how many candidates, 0 to 20.")
    user: str | None = Field(default=None, description="The end user, for the provider.")
    session_id: str | None = Field(
        default=None, description="Groups the calls of one conversation in the gateway's logs."
    )
    reasoning: dict[str, Any] | None = Field(
        default=None, description="effort or max_tokens, and optionally exclude."
    )
    reasoning_effort: str | None = Field(default=None, description='"low", "medium", "high", …')
    verbosity: str | None = Field(default=None, description='"low", "medium" or "high".')
    prediction: dict[str, Any] | None = Field(
        default=None,
        description='Text expected in the answer: {"type": "content", "content": "…"}.',
    )
    modalities: list[str] | None = Field(
        default=None, description='Kinds of output: ["image", "text"] generates images.'
    )
    image_config: dict[str, Any] | None = Field(
        default=None, description="aspect_ratio and image_size of generated images."
    )
    plugins: Plugins | None = Field(
        default=None,
        description=(
            'How PDFs are read: [{"id": "file-parser", "pdf": {"engine": …}}], by "mistral-ocr", '
            '"cloudflare-ai" or "native" (the model itself).'
        ),
    )
    web_search: WebSearchSetting = Field(
        default=None,
        description=(
            "Let the server search the web: True, or the search tool's parameters "
            "(lunos_core.WebSearch): engine, max_results, max_total_results, search_context_size, "
            "allowed_domains and excluded_domains."
        ),
    )
    cache_control: bool | dict[str, Any] | None = Field(
        default=None,
        description=(
            "Mark the stable parts of the prompt for the provider's cache (Claude models): True, "
            'or a mark such as {"type": "ephemeral", "ttl": "1h"}.'
        ),
    )
    prompt_cache_key: str | None = Field(
        default=None, description="Sends calls with the same prefix to the same cache (OpenAI)."
    )
    observability: bool | None = Field(
        default=None, description="Keep request and answer beside the gateway's query log."
    )
    fallback_model: str | None = Field(
        default=None, description="The model to try if `model` fails; the client falls back."
    )
    models: list[str] | None = Field(
        default=None, description="Models to try in this order; the gateway falls back."
    )
    provider: dict[str, Any] | None = Field(
        default=None, description='Routing, such as {"order": ["anthropic"]}.'
    )
    service_tier: str | None = Field(
        default=None, description='"auto", "default", "flex" or "priority".'
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Further parameters of the wire, by their own names."
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields added to the request body unchanged, last of all."
    )
    extra_query: dict[str, Any] | None = Field(
        default=None, description="Parameters added to the URL unchanged."
    )

    def check_parameters(self) -> None:
        """Check what was set against the wire's ranges.

        Raises:
            ValueError: a value out of range.
            TypeError: a value of the wrong type.
        """
        check_more("additional_kwargs", self.additional_kwargs)
        check_params({**self.additional_kwargs, **self._set((*_SAMPLING, *_CHAT))}, CHAT)

    def chat_params(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of one chat: the call's own win over the settings.

        `None` in a call means "not given": LlamaIndex passes `tool_choice=None` by default.
        """
        return self._merge((*_SAMPLING, *_CHAT), call)

    def completion_params(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of one text completion; there `logprobs` is a number of tokens."""
        params = self._merge(_SAMPLING, call)
        if self.logprobs and "logprobs" not in params:
            params["logprobs"] = self.top_logprobs or 1
        return params

    def _merge(self, names: tuple[str, ...], call: Mapping[str, Any]) -> dict[str, Any]:
        given = {
            name: value
            for name, value in call.items()
            if value is not None and name not in _NOT_ON_THE_WIRE
        }
        params = {**self._set(names), **self.additional_kwargs, **given}
        params |= run_options(given.get("app_id"))
        merge_options(params, self.__dict__, self.additional_kwargs, given)
        return params

    def _set(self, names: tuple[str, ...]) -> dict[str, Any]:
        values = self.__dict__
        return {name: values[name] for name in names if values.get(name) is not None}
