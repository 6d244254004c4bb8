"""Objects of a class out of answers, whole or as far as they came. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.types import Model
from pydantic_core import from_json

from llama_index_lunos._schema import to_response_format, to_tool
from llama_index_lunos.errors import LunosStructuredOutputError
from lunos_core.errors import LunosBadRequestError

StructuredOutput = Literal["json_schema", "function_calling", "prompt"]

# arguments of LlamaIndex' programs: how the object is asked for is decided here
_OF_PROGRAMS = ("tool_choice", "tool_required", "allow_parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way of asking for an object: what to pass to `chat`."""

    way: StructuredOutput
    messages: Sequence[ChatMessage]
    params: Mapping[str, Any]


def attempt(
    way: StructuredOutput,
    output_cls: type[BaseModel],
    messages: Sequence[ChatMessage],
    llm_kwargs: Mapping[str, Any] | None,
) -> Attempt:
    """Ask for an object in one of the three ways; nothing that is given is changed."""
    params = {name: it for name, it in (llm_kwargs or {}).items() if name not in _OF_PROGRAMS}
    if way == "json_schema":
        return Attempt(way, messages, {"response_format": to_response_format(output_cls), **params})
    if way == "function_calling":
        tool = to_tool(output_cls)
        choice = {"type": "function", "function": {"name": tool["function"]["name"]}}
        return Attempt(way, messages, {"tools": [tool], "tool_choice": choice, **params})
    return Attempt(way, _with_schema_in_words(output_cls, messages), params)


def way_after(
    error: LunosBadRequestError, way: StructuredOutput, *, tools: bool
) -> StructuredOutput | None:
    """The next way to try where a model refused this one; `None` where that was not the reason."""
    words = f"{error.param} {error.message}".lower()
    if way == "json_schema" and any(word in words for word in ("response_format", "json_schema")):
        return "function_calling" if tools else "prompt"
    if way == "function_calling" and any(word in words for word in ("tool", "function call")):
        return "prompt"
    return None


def read_object(output_cls: type[Model], response: ChatResponse) -> Model:
    """The object in a whole answer.

    Raises:
        LunosStructuredOutputError: there is none; the text says why.
    """
    message = response.message
    reason = response.additional_kwargs.get("finish_reason")
    name = output_cls.__name__
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        raise _no_object(f"the model refused to give a {name}: {refusal}", response)
    try:
        return output_cls.model_validate(json.loads(_json_text(message), strict=False))
    except ValueError as error:  # no JSON, or pydantic's ValidationError
        if reason == "length":
            why = f"the {name} was cut off at max_tokens: allow more, or ask for less"
        elif reason == "content_filter":
            why = f"a content filter of the provider cut the {name} off"
        elif isinstance(error, ValidationError):
            why = f"the answer is no {name}: {_what_is_wrong(error)}"
        else:
            why = f"the answer holds no JSON for a {name}: {_start(message)}"
        raise _no_object(why, response) from error


class PartialObjects:
    """The object of a stream, as it grows."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        from llama_index.core.program.utils import create_flexible_model

        self._whole = output_cls
        self._flexible = create_flexible_model(output_cls)
        self._shown: BaseModel | None = None
        self._last: ChatResponse | None = None

    def add(self, response: ChatResponse) -> Any:
        """The object so far, of the class or a flexible form of it; `None` where nothing is new."""
        self._last = response
        text = _json_text(response.message, partial=True)
        if not text:
            return None
        try:
            value = from_json(text, allow_partial="trailing-strings")
        except ValueError:
            return None
        return self._show(self._fit(value))

    def end(self) -> Any:
        """The object, where it was not shown whole yet.

        Raises:
            LunosStructuredOutputError: what came is none.
        """
        if self._last is None:
            raise LunosStructuredOutputError(f"no {self._whole.__name__} came: an empty stream")
        return self._show(read_object(self._whole, self._last))

    def _fit(self, value: Any) -> BaseModel | None:
        for kind in (self._whole, self._flexible):
            try:
                return kind.model_validate(value)
            except ValidationError:
                continue
        return None

    def _show(self, found: BaseModel | None) -> Any:
        if found is None or found == self._shown:
            return None
        self._shown = found
        return found


def _with_schema_in_words(
    output_cls: type[BaseModel], messages: Sequence[ChatMessage]
) -> list[ChatMessage]:
    words = TextBlock(text=PydanticOutputParser(output_cls).get_format_string(escape_json=False))
    last = messages[-1] if messages else None
    if last is None or last.role != MessageRole.USER:
        return [*messages, ChatMessage(role=MessageRole.USER, blocks=[words])]
    return [*messages[:-1], last.model_copy(update={"blocks": [*last.blocks, words]})]


def _json_text(message: ChatMessage, *, partial: bool = False) -> str:
    """Where the JSON is: a tool call's arguments, else the text, without what is around it."""
    for block in message.blocks:
        if isinstance(block, ToolCallBlock):
            arguments = block.tool_kwargs
            return arguments if isinstance(arguments, str) else json.dumps(arguments)
    text = message.content or ""
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        return ""
    start = min(starts)
    end = text.rfind("}" if text[start] == "{" else "]")
    return text[start:] if partial or end < start else text[start : end + 1]


def _no_object(why: str, response: ChatResponse) -> LunosStructuredOutputError:
    known = response.additional_kwargs
    return LunosStructuredOutputError(
        why,
        partial=response.message,
        model=known.get("model"),
        request_id=known.get("request_id"),
    )


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in first)


def _start(message: ChatMessage) -> str:
    return repr((message.content or "")[:200])
