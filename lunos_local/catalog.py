"""The models of a gateway, and their catalog entries."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from lunos_local.backends.answer import CREATED
from lunos_local.backends.base import Body, ChatBackend, EmbeddingBackend
from lunos_local.backends.scripted_audio import ScriptedSpeech
from lunos_local.backends.scripted_images import IMAGE_TOKENS, ScriptedImages
from lunos_local.backends.scripted_video import ScriptedVideo
from lunos_local.backends.transcription import Listener
from lunos_local.errors import WireError
from lunos_local.faults import Fault

_MILLION = 1_000_000
_FREE_TOKENS = 10 * _MILLION  # per day, for models without a price
SAMPLING = ("temperature", "top_p", "max_tokens", "stop", "seed", "n")
# a model without such a feature refuses the parameter; others may be ignored
_FEATURES = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
)
_PART_MODALITY = {
    "text": "text",
    "refusal": "text",
    "image_url": "image",
    "file": "file",
    "input_audio": "audio",
    "video_url": "video",
}
_REFERENCE_NAMES = {"chat": "chat-completion", "text-generation": "text-completion"}


@dataclass(frozen=True)
class Model:
    """One model: its catalog entry and the backends that serve it."""

    id: str
    name: str
    description: str
    context: int
    max_output: int | None = None
    size: str | None = None
    supported: Collection[str] = SAMPLING
    inputs: tuple[str, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    reasoning: bool = False
    input_price: float = 0.0  # USD per million tokens
    output_price: float = 0.0
    unit_price: float = 0.0  # USD per image, minute of audio or thousand characters of speech
    served_by: str | None = None  # for an alias: the gateway's own model
    dimensions: int | None = None  # for an alias: the default for embeddings
    chat: ChatBackend | None = field(default=None, repr=False)
    embedding: EmbeddingBackend | None = field(default=None, repr=False)
    images: ScriptedImages | None = field(default=None, repr=False)
    transcription: Listener | None = field(default=None, repr=False)
    speech: ScriptedSpeech | None = field(default=None, repr=False)
    video: ScriptedVideo | None = field(default=None, repr=False)
    fault: Fault | None = field(default=None, repr=False)

    @property
    def own_id(self) -> str:
        """The id of the gateway's own model that answers."""
        return self.served_by or self.id

    def billed(self, answer: Body) -> Body:
        """Put the price of this entry into the `usage.cost` of an answer that has one."""
        usage = answer.get("usage")
        if usage and self.images:
            drawn = usage["completion_tokens_details"]["image_tokens"] / IMAGE_TOKENS
            usage["cost"] = round(drawn * self.unit_price, 10)
        elif usage and "cost" in usage and (self.input_price or self.output_price):
            cost = usage["prompt_tokens"] * self.input_price
            cost += usage.get("completion_tokens", 0) * self.output_price
            usage["cost"] = round(cost / _MILLION, 10)
        return answer

    @property
    def capabilities(self) -> list[str]:
        """What the model can do, in the catalog's terms."""
        names = ["chat", "text-generation"] if self.chat else []
        if self.embedding:
            names += ["embeddings", "text-embedding"]
        if self.images:
            names.append("image-generation")
        if self.transcription:
            names += ["transcription", "audio-transcription"]
        if self.speech:
            names += ["speech", "speech-generation"]
        if self.video:
            names.append("video-generation")
        if self.fault:
            names.append("fault")
        if "image" in self.inputs:
            names.append("vision")
        return names

    def to_reference(self) -> Body:
        """Return the entry in GET /public/models."""
        return {
            "id": self.id,
            "provider": self.id.split("/")[0],
            "created": CREATED,
            "object": "model",
            "owned_by": "lunos_local",
            "capabilities": [_REFERENCE_NAMES.get(name, name) for name in self.capabilities],
            "pricing": {
                "input": self.input_price / _MILLION,
                "output": self.output_price / _MILLION,
                "unit": "token",
                "currency": "USD",
            },
        }

    def to_wire(self) -> Body:
        """Return the entry in GET /v1/models."""
        return {
            "id": self.id,
            "object": "model",
            "created": CREATED,
            "owned_by": "lunos_local",
            "name": self.name,
            "provider": self.id.split("/")[0],
            "description": self.description,
            "parameters": {
                "context": self.context,
                "max_output_tokens": self.max_output,
                "size": self.size,
            },
            "pricePerMillionTokens": {
                "input": self.input_price,
                "output": self.output_price,
                "discountPercentage": 0,
            },
            "capabilities": self.capabilities,
            "status": "active",
            "supportedParameters": sorted(self.supported),
            "inputModalities": list(self.inputs),
            "outputModalities": list(self.outputs),
            "supportReasoning": self.reasoning,
            "maxCompletionTokens": self.max_output,
            "isEnabled": True,
            "modelId": self.id,
            "permaslug": self.id,
            "freeConfig": {
                "maxTokens": 0 if self.input_price or self.output_price else _FREE_TOKENS,
                "isPremium": False,
            },
            "avgThroughput": None,
            "releaseDate": "2023-11-14",
            "createdAt": None,
            "updatedAt": None,
        }

    def to_page(self) -> Body:
        """Return the facts that the gateway's page shows."""
        return {
            "id": self.id,
            "served_by": self.served_by,
            "fault": self.fault is not None,
            "chat": self.chat is not None,
            "input": self.input_price,
            "output": self.output_price,
        }

    def to_minimum(self) -> Body:
        """Return the entry in OpenAI's own format."""
        return {"id": self.id, "object": "model", "created": CREATED, "owned_by": "lunos_local"}

    def check_chat(self, body: Body) -> None:
        """Raise a 400 if a chat request uses a feature that this model lacks."""
        for name in _FEATURES:
            if body.get(name) is not None and name not in self.supported:
                raise self._unsupported(name)
        for i, modality in enumerate(body.get("modalities") or ()):
            if modality not in self.outputs:
                raise self._unsupported(f"modalities[{i}]")
        for i, message in enumerate(body["messages"]):
            content = message.get("content")
            for j, part in enumerate(content if isinstance(content, list) else ()):
                if _PART_MODALITY[part["type"]] not in self.inputs:
                    raise self._unsupported(f"messages[{i}].content[{j}].type")

    def _unsupported(self, param: str) -> WireError:
        return WireError(
            f"Unsupported parameter: '{param}' is not supported with the model '{self.id}'.",
            param=param,
            code="unsupported_parameter",
        )


class Catalog:
    """The models of a gateway and their aliases, by id."""

    def __init__(
        self, models: list[Model], find_other: Callable[[str], Model | None] | None = None
    ) -> None:
        self.models = models
        self._by_id = {model.id: model for model in models}
        self._find_other = find_other

    def find(self, id: str) -> Model:
        """Return the model with this id, or raise a 404 that suggests close ids."""
        model = self._by_id.get(id) or (self._find_other(id) if self._find_other else None)
        if model is None:
            close = [repr(name) for name in _close_names(id, list(self._by_id))]
            hint = f"Did you mean {' or '.join(close)}? " if close else ""
            raise WireError(
                f"The model '{id}' does not exist. {hint}GET /v1/models lists the models.",
                param="model",
                status=404,
                code="model_not_found",
            )
        return model

    def to_shape(self, shape: int, inputs: str = "", outputs: str = "") -> Any:
        """Return the list as a response body, in one of the four shapes that Lunos has used.

        Args:
            shape: 1 the reference's, 2 a bare array, 3 `{"data": […]}`, 4 OpenAI's minimum.
            inputs: comma-separated modalities; only models that read all of them are listed.
            outputs: the same for the modalities that they write.
        """
        wanted_in = {name.strip() for name in inputs.split(",") if name.strip()}
        wanted_out = {name.strip() for name in outputs.split(",") if name.strip()}
        models = [
            model
            for model in self.models
            if wanted_in <= set(model.inputs) and wanted_out <= set(model.outputs)
        ]
        if shape == 1:
            return {
                "status": "success",
                "data": {"models": [model.to_reference() for model in models]},
                "meta": {"processing_time": 0.0},
            }
        if shape == 4:
            return {"object": "list", "data": [model.to_minimum() for model in models]}
        entries = [model.to_wire() for model in models]
        return entries if shape == 2 else {"data": entries}


def _close_names(id: str, names: list[str]) -> list[str]:
    # the provider may be missing or wrong
    ends = {name.rpartition("/")[2]: name for name in reversed(names)}
    return [ends[end] for end in get_close_matches(id.rpartition("/")[2], ends, 3, 0.75)]
