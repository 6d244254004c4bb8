"""The wire's parameters as settings, and what one call sends of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseComponent

from llama_index_lunos._settings import resolve_app_id
from lunos_core.endpoints.params import CHAT, check_params

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
)
# of LlamaIndex' own, passed along by some of its callers
_NOT_OF_THE_WIRE = ("verbose", "formatted", "model")


class Parameters(BaseComponent):
    """The parameters of chats and completions. Nothing is sent that was not set."""

    temperature: float | None = Field(
        default=None, description="0 to 2. Not sent unless set: reasoning models refuse it."
    )
    max_tokens: int | None = Field(default=None, description="Longest answer, in tokens.")
    top_p: float | None = Field(default=None, description="Nucleus sampling, 0 to 1.")
    stop: str | list[str] | None = Field(default=None, description="Where to stop.")
    seed: int | None = Field(default=None, description="For answers that can be repeated.")
    frequency_penalty: float | None = Field(default=None, description="-2 to 2.")
    presence_penalty: float | None = Field(default=None, description="-2 to 2.")
    logit_bias: dict[str, float] | None = Field(
        default=None, description="Token id to bias, -100 to 100."
    )
    logprobs: bool | None = Field(default=None, description="Give the tokens' probabilities.")
    top_logprobs: int | None = Field(default=None, description="Of how many candidates, 0 to 20.")
    user: str | None = Field(default=None, description="The end user, for the provider.")
    reasoning: dict[str, Any] | None = Field(
        default=None, description="effort or max_tokens, and maybe exclude."
    )
    reasoning_effort: str | None = Field(default=None, description='"low", "medium", "high", …')
    modalities: list[str] | None = Field(
        default=None, description='What to answer with: ["image", "text"] makes images.'
    )
    image_config: dict[str, Any] | None = Field(
        default=None, description="aspect_ratio and image_size of generated images."
    )
    plugins: list[dict[str, Any]] | None = Field(
        default=None, description='Such as [{"id": "file-parser", "pdf": {"engine": "native"}}].'
    )
    observability: bool | None = Field(
        default=None, description="Keep request and answer beside the gateway's query log."
    )
    fallback_model: str | None = Field(
        default=None, description="The model to ask when `model` fails."
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Further parameters of the wire, by their own names."
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields put into the request as they are, last of all."
    )

    def check_parameters(self) -> None:
        """Check what was set against the wire's ranges.

        Raises:
            ValueError: a value out of range.
            TypeError: a value of the wrong type.
        """
        check_params({**self.additional_kwargs, **self._set((*_SAMPLING, *_CHAT))}, CHAT)

    def chat_params(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of one chat: the call's own win over the settings.

        `None` in a call means "not given": LlamaIndex passes `tool_choice=None` to say nothing.
        """
        return self._merge((*_SAMPLING, *_CHAT), call)

    def completion_params(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of one text completion; there `logprobs` is a number of tokens."""
        params = self._merge(_SAMPLING, call)
        if self.logprobs and "logprobs" not in params:
            params["logprobs"] = self.top_logprobs or 1
        return params

    def _merge(self, names: tuple[str, ...], call: Mapping[str, Any]) -> dict[str, Any]:
        given = {
            name: value
            for name, value in call.items()
            if value is not None and name not in _NOT_OF_THE_WIRE
        }
        params = {**self._set(names), **self.additional_kwargs, **given}
        params["app_id"] = resolve_app_id(given.get("app_id"))
        if self.extra_body:
            params["extra_body"] = {**self.extra_body, **given.get("extra_body", {})}
        return params

    def _set(self, names: tuple[str, ...]) -> dict[str, Any]:
        values = self.__dict__
        return {name: values[name] for name in names if values.get(name) is not None}
