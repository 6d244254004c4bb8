"""Objects instead of text: how to ask for a class, and how to read one from an answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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

from llama_index_lunos.errors import LunosStructuredOutputError
from lunos_core.endpoints.chat.json_text import MOST_CANDIDATES, is_thinking, strip_thinking
from lunos_core.endpoints.chat.schemas import strict_schema
from lunos_core.endpoints.chat.tool_names import sendable_name
from lunos_core.errors import LunosAPIError
from lunos_core.forks import first_use

StructuredOutput = Literal["json_schema", "function_calling", "prompt"]

# arguments of LlamaIndex's programs; here the way of asking decides
_PROGRAM_SETTINGS = ("tool_choice", "tool_required", "allow_parallel_tool_calls")
_DECODER = json.JSONDecoder(strict=False)  # small models write bare newlines


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
    strict: bool | None = None,
) -> Attempt:
    """Ask for an object in one of the three ways. The arguments are left unchanged.

    Args:
        way: how to ask.
        output_cls: the class of the object.
        messages: the prompt.
        llm_kwargs: the caller's parameters of `chat`; they take precedence.
        strict: whether to send a schema as strict, if it allows that; `None` means yes for
            `response_format` and no for tools.

    Raises:
        TypeError: `output_cls` isn't a pydantic class.
    """
    if not isinstance(output_cls, type) or not issubclass(output_cls, BaseModel):
        raise TypeError(
            f"output_cls must be a pydantic class, not {output_cls!r}: for a list or a dict use "
            "one such as RootModel[list[int]]"
        )
    given = llm_kwargs or {}
    params = {name: value for name, value in given.items() if name not in _PROGRAM_SETTINGS}
    if way == "json_schema":
        wanted = to_response_format(output_cls, strict=strict is not False)
        return Attempt(way, messages, {"response_format": wanted, **params})
    if way == "function_calling":
        tool = set_strict(to_tool(output_cls), strict)
        if tool["function"]["parameters"].get("type", "object") != "object":
            # the arguments of a tool are an object, and this class isn't: `RootModel[list[int]]`
            return attempt("prompt", output_cls, messages, llm_kwargs)
        forced = {
            "tools": [tool],
            "tool_choice": {"type": "function", "function": {"name": tool["function"]["name"]}},
            "parallel_tool_calls": False,
        }
        return Attempt(way, messages, {**forced, **params})
    return Attempt(way, _with_schema_in_prompt(output_cls, messages), params)


def next_way(
    error: LunosAPIError, way: StructuredOutput, *, tools: bool
) -> StructuredOutput | None:
    """Return the way to try after a model refused this one, or `None` for other refusals."""
    words = f"{error.param} {error.message}".lower().replace("_", " ")
    if not any(word in words for word in _REFUSALS.get(way, ())):
        return None
    return "function_calling" if tools and way == "json_schema" else "prompt"


# OpenRouter doesn't say which "requested parameters" no provider has
_REFUSALS: Mapping[StructuredOutput, Sequence[str]] = {
    "json_schema": ("response format", "json schema", "structured output", "requested parameters"),
    "function_calling": ("tool", "function call", "requested parameters"),
}


def to_response_format(output_cls: type[BaseModel], *, strict: bool = True) -> dict[str, Any]:
    """Return the wire's `response_format` for a class.

    It is strict if the schema allows it: then the provider guarantees the shape. A class with
    free-form parts (`dict[str, int]`, `Any`) can't be strict, and is sent as pydantic describes it.
    """
    schema = output_cls.model_json_schema()
    strictly = strict_schema(schema) if strict else None
    wanted: dict[str, Any] = {
        "name": sendable_name(output_cls.__name__),
        "schema": schema if strictly is None else strictly,
    }
    description = schema.get("description")
    if description:
        wanted["description"] = description
    if strictly is not None:
        wanted["strict"] = True
    return {"type": "json_schema", "json_schema": wanted}


def to_tool(output_cls: type[BaseModel]) -> dict[str, Any]:
    """Return a tool whose arguments are the fields of the class."""
    schema = output_cls.model_json_schema()
    description = schema.pop("description", None) or f"Give a {output_cls.__name__}."
    function = {
        "name": sendable_name(output_cls.__name__),
        "description": description,
        "parameters": schema,
    }
    return {"type": "function", "function": function}


def set_strict(tool: dict[str, Any], strict: bool | None) -> dict[str, Any]:
    """Return a tool with `strict` set; `True` only if its schema can be strict."""
    function = tool.get("function")
    if strict is None or not isinstance(function, dict):
        return tool
    if not strict:
        return {**tool, "function": {**function, "strict": False}}
    parameters = strict_schema(function.get("parameters") or {})
    if parameters is None:
        return tool
    return {**tool, "function": {**function, "parameters": parameters, "strict": True}}


def read_object(output_cls: type[Model], response: ChatResponse) -> Model:
    """Return the object in a whole answer: the first JSON value that fits the class.

    Raises:
        LunosStructuredOutputError: there is none; the message says why.
    """
    message = response.message
    name = output_cls.__name__
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        raise _no_object(f"the model refused to give a {name}: {refusal}", response)
    misfit: ValidationError | None = None
    texts = _json_texts(message)
    for text in texts:
        for candidate in _JsonValues(text):
            if not candidate.complete:
                break
            try:
                return _validate(output_cls, candidate.value)
            except ValidationError as error:
                # report the last object: models reason first and answer last
                if misfit is None or isinstance(candidate.value, dict):
                    misfit = error
    reason = response.additional_kwargs.get("finish_reason")
    if reason == "length":
        why = f"the {name} was cut off at max_tokens: allow more, or ask for less"
    elif reason == "content_filter":
        why = f"a content filter of the provider cut the {name} off"
    elif misfit is not None:
        why = f"the answer isn't a valid {name}: {_describe(misfit)}"
    else:
        shown = next(iter(texts), None) or message.content or ""
        why = f"the answer has no JSON for a {name}: {shown[:200]!r}"
    raise _no_object(why, response) from misfit


class PartialObjects:
    """The object of a stream, as it grows."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        with first_use:
            from llama_index.core.program.utils import create_flexible_model

        self._output_cls = output_cls
        self._flexible_cls = create_flexible_model(output_cls)
        self._shown: BaseModel | None = None
        self._last: ChatResponse | None = None
        self._complete = False
        # what has been read of each text: reading it with each chunk would be quadratic
        self._passed: dict[int, str] = {}

    def add(self, response: ChatResponse) -> Any:
        """Return the object so far, in the class or a flexible form of it; `None` if unchanged."""
        self._last = response
        if self._complete:  # text after the object changes nothing
            return None
        for i, text in enumerate(_json_texts(response.message)):
            passed = self._passed.get(i, "")
            values = _JsonValues(text, len(passed) if text.startswith(passed) else 0)
            for candidate in values:
                try:
                    value = _validate(self._output_cls, candidate.value)
                except ValidationError:
                    if candidate.complete:
                        continue  # another value may follow
                    return self._show(self._flexible(candidate.value))
                self._complete = candidate.complete
                return self._show(value)
            self._passed[i] = text[: values.position]
        return None

    def end(self) -> Any:
        """Return the whole object, unless it has been shown already.

        Raises:
            LunosStructuredOutputError: the answer has none.
        """
        if self._last is None:
            name = self._output_cls.__name__
            raise LunosStructuredOutputError(f"the stream was empty: it has no {name}")
        return self._show(read_object(self._output_cls, self._last))

    def _flexible(self, value: Any) -> BaseModel | None:
        try:
            return self._flexible_cls.model_validate(value)
        except ValidationError:
            return None

    def _show(self, value: BaseModel | None) -> Any:
        if value is None or value == self._shown:
            return None
        self._shown = value
        return value


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A JSON value in a text; `complete` unless the text ends before the value does."""

    value: Any
    complete: bool


class _JsonValues:
    """Iterates over the objects and arrays in a text; the last may be truncated.

    Brackets that don't begin JSON are skipped ("See {this}"). Values inside a value, even inside a
    truncated one, aren't candidates: a part isn't the whole.

    Attributes:
        position: the text before it has been read, and need not be read again.
    """

    def __init__(self, text: str, position: int = 0) -> None:
        self._text = text
        self.position = position

    def __iter__(self) -> Iterator[_Candidate]:
        text = self._text
        for _ in range(MOST_CANDIDATES):
            start = _next_bracket(text, self.position)
            if start < 0:
                return
            try:
                value, self.position = _DECODER.raw_decode(text, start)
            except (ValueError, RecursionError):
                self.position = start
                try:
                    value = from_json(text[start:], allow_partial="trailing-strings")
                except ValueError:
                    self.position += 1
                    continue
                yield _Candidate(value, complete=False)
                return
            yield _Candidate(value, complete=True)


def _next_bracket(text: str, start: int) -> int:
    return min((i for i in (text.find("{", start), text.find("[", start)) if i >= 0), default=-1)


def _json_texts(message: ChatMessage) -> list[str]:
    """Return the texts that may contain JSON: the arguments of tool calls, else the text."""
    calls = [block.tool_kwargs for block in message.blocks if isinstance(block, ToolCallBlock)]
    texts = [item if isinstance(item, str) else json.dumps(item) for item in calls]
    return [
        strip_thinking(text) for text in texts or [message.content or ""] if not is_thinking(text)
    ]


def _validate(output_cls: type[Model], value: Any) -> Model:
    try:
        return output_cls.model_validate(value)
    except ValidationError as error:
        try:  # strict classes accept dates and enums only from JSON
            return output_cls.model_validate_json(json.dumps(value))
        except ValidationError:
            if isinstance(value, list) and len(value) == 1:  # `[{…}]` instead of the object
                return _validate(output_cls, value[0])
            raise error from None


def _with_schema_in_prompt(
    output_cls: type[BaseModel], messages: Sequence[ChatMessage]
) -> list[ChatMessage]:
    words = TextBlock(text=PydanticOutputParser(output_cls).get_format_string(escape_json=False))
    last = messages[-1] if messages else None
    if last is None or last.role != MessageRole.USER:
        return [*messages, ChatMessage(role=MessageRole.USER, blocks=[words])]
    return [*messages[:-1], last.model_copy(update={"blocks": [*last.blocks, words]})]


def _no_object(why: str, response: ChatResponse) -> LunosStructuredOutputError:
    known = response.additional_kwargs
    return LunosStructuredOutputError(
        why,
        partial=response.message,
        model=known.get("model"),
        request_id=known.get("request_id"),
    )


def _describe(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)[:3]
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in details
    )
