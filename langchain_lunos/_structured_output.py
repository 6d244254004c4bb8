"""`with_structured_output`: from a schema to a request, and from an answer to an object."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableGenerator
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_lunos._schemas import to_function, to_json_schema
from langchain_lunos.errors import LunosRefusalError, LunosTruncatedError
from lunos_core.arguments import check_flag_or_none
from lunos_core.endpoints.chat.json_text import json_objects, strip_thinking

METHODS = ("json_schema", "function_calling", "json_mode")


def check_arguments(schema: Any, method: str, strict: bool | None) -> None:
    """Refuse arguments that cannot work, before anything is bound.

    Raises:
        ValueError: the method is unknown, a schema is missing, or `strict` is given in JSON mode.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    check_flag_or_none("strict", strict)
    if method == "json_mode" and strict is not None:
        raise ValueError("strict needs a schema that the server sees: not with method='json_mode'")
    if method != "json_mode" and schema is None:
        raise ValueError(f"schema is missing: method={method!r} sends it to the server")


def to_bind(schema: Any, method: str, strict: bool | None, tools: Any) -> dict[str, Any]:
    """Return what to bind to the model: the format or a forced tool, and facts for tracers.

    Args:
        schema: the schema; `bind_tools` offers it as a tool for "function_calling".
        method: one of `METHODS`.
        strict: ask for exactly this schema.
        tools: other tools that the model may call.
    """
    if method == "json_mode":
        bound: dict[str, Any] = {"response_format": {"type": "json_object"}}
    elif method == "json_schema":
        bound = {"response_format": to_response_format(schema, strict)}
    else:
        function = to_function(schema)
        if (function.get("parameters") or {}).get("type", "object") != "object":
            raise ValueError(
                f"{function['name']} isn't an object, and the arguments of a tool are: use "
                "method='json_schema', or a class that has a field of this type"
            )
        choice = "any" if tools else function["name"]
        bound = {"tool_choice": choice, "parallel_tool_calls": False}
    settings = {"method": method} if strict is None else {"method": method, "strict": strict}
    if schema is not None and not _is_format(schema):
        bound["ls_structured_output_format"] = {
            "kwargs": settings,
            "schema": to_json_schema(schema),
        }
    return bound


def to_response_format(schema: Any, strict: bool | None = None) -> dict[str, Any]:
    """Return a schema as `response_format`; one that already is a format stays unchanged."""
    if isinstance(schema, Mapping):
        if _is_format(schema):
            return dict(schema)
        if isinstance(schema.get("schema"), Mapping) and "name" in schema:
            return {"type": "json_schema", "json_schema": dict(schema)}
    function = to_function(schema, strict)
    named: dict[str, Any] = {
        "name": function["name"],
        "schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description"):
        named["description"] = function["description"]
    if "strict" in function:
        named["strict"] = function["strict"]
    return {"type": "json_schema", "json_schema": named}


def to_parser(schema: Any, method: str, tools: Any = None) -> Runnable[Any, Any]:
    """Return a runnable that checks the answer and then parses it with LangChain's parser.

    With other tools, an answer that calls one of them results in `None`: there is no object yet.
    """
    parser: Runnable[Any, Any]
    model = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    function: dict[str, Any] = {}
    if schema is not None and not _is_format(schema):
        function = to_function(schema)
    name = function["name"] if method == "function_calling" else None
    if name is not None and model is not None:
        parser = PydanticToolsParser(tools=[model], first_tool_only=True)
    elif name is not None:
        parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    elif model is not None:
        parser = PydanticOutputParser(pydantic_object=model)
    else:
        parser = JsonOutputParser()
    make = functools.partial(
        _Answer,
        parser=parser,
        tool=name,
        others=bool(tools),
        parameters=function.get("parameters") or {},
    )
    return RunnableGenerator(
        functools.partial(_parse, make=make), functools.partial(_aparse, make=make), name="parse"
    )


def _is_format(schema: Any) -> bool:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    return isinstance(kind, str) and kind not in _JSON_TYPES


# the types of JSON schemas; other values are types of formats: "json_schema", "text", …
_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def with_raw(llm: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return a runnable whose result has the answer and the object or its error (`include_raw`).

    In a stream the pieces of the answer come as they arrive, and the object comes last.
    """
    pair = RunnableGenerator(
        functools.partial(_pair, parser=parser),
        functools.partial(_apair, parser=parser),
        name="raw_and_parsed",
    )
    return llm | pair


class _Answer:
    """Checks an answer as it arrives, and raises an error that says why it cannot be parsed.

    Args:
        parser: LangChain's parser.
        tool: the tool whose arguments are the object; `None` if the object is in the text.
        others: whether the model may call other tools instead.
        parameters: the schema, by which to choose among several objects in a text.
    """

    def __init__(
        self,
        *,
        parser: Runnable[Any, Any],
        tool: str | None,
        others: bool,
        parameters: Mapping[str, Any],
    ) -> None:
        self.parser = parser
        self._tool = tool
        self._others = others
        self._required = parameters.get("required") or ()
        self._is_object = parameters.get("type") == "object"
        self._chunks: list[AIMessageChunk] = []
        self._message: AIMessage | None = None

    def may_stream(self, message: Any) -> bool:
        """Return whether LangChain's parser, which fails on other tools' calls, may see a piece."""
        return isinstance(message, AIMessageChunk) and not (self._tool and self._others)

    def may_be(self, partial: Any) -> bool:
        return not self._is_object or not isinstance(partial, list)

    def see(self, message: Any) -> None:
        if not isinstance(message, AIMessage):
            return
        if isinstance(message, AIMessageChunk):
            self._chunks.append(message)
        else:
            self._message = message
        # checked before LangChain's parsers, which would raise errors that say less
        refusal = _refusal_of(message)
        if refusal:
            raise LunosRefusalError(
                f"the model refused: {refusal}", llm_output=refusal, raw_message=self._whole()
            )
        reason = message.response_metadata.get("finish_reason")
        if reason == "content_filter":
            whole = self._whole()
            raise LunosRefusalError(
                "the provider's content filter stopped the answer (finish_reason 'content_filter')",
                llm_output=whole.text,
                raw_message=whole,
            )
        if reason == "length":
            raise LunosTruncatedError(
                "the answer was cut off at max_tokens before it was whole (finish_reason "
                "'length'): raise max_tokens, or ask for less",
                llm_output=self._whole().text,
            )
        is_whole = not self._chunks or message.chunk_position == "last"  # type: ignore[attr-defined]  # a chunk
        if is_whole and message.invalid_tool_calls:  # LangChain's parsers would return None
            broken = message.invalid_tool_calls[0]
            raise OutputParserException(
                f"the model's arguments for {broken['name'] or 'the schema'!r} aren't a JSON "
                "object",
                llm_output=broken["args"],
            )

    def result(self) -> Any:
        message = self._whole()
        text = message.text
        names = [call["name"] for call in message.tool_calls]
        if self._tool in names:
            return self.parser.invoke(message)
        if names and self._others:
            return None
        if self._tool is not None:
            if names:
                return self.parser.invoke(message)
            raise OutputParserException(
                f"the model called no tool, and said {text[:200]!r}", llm_output=text
            )
        failure: OutputParserException | None = None
        results: list[Any] = []
        for candidate in _candidates(text):
            try:
                results.append(self.parser.invoke(AIMessage(content=candidate)))
            except OutputParserException as error:
                failure = failure or error
            else:
                result = results[-1]
                if not isinstance(result, dict) or all(key in result for key in self._required):
                    return result
        if results:
            return results[0]
        # LangChain's parsers would complete truncated JSON, or return nothing
        raise failure or OutputParserException(
            f"the answer contains no whole JSON: {text[:200]!r}", llm_output=text
        )

    def _whole(self) -> AIMessage:
        if self._chunks:
            first, *others = self._chunks
            return add_ai_message_chunks(first, *others)
        return self._message or AIMessage(content="")


def _candidates(text: str) -> list[str]:
    """Return possible JSON values in a text that may also have words, reasoning or a fence."""
    body = strip_thinking(text)
    fence = _FENCE.search(body)
    inner = (fence.group(1) if fence else body).strip()
    if inner.startswith("[") and _list_at_start(inner) == inner:
        return [inner]
    return [*json_objects(text)] or [
        item
        for match in re.finditer(r"\[", body)
        if (item := _list_at_start(body[match.start() :]))
    ][:1]


def _list_at_start(text: str) -> str:
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return ""
    return text[:end]


_FENCE = re.compile(r"```(?:json)?\s(.*?)```", re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)


def _refusal_of(message: AIMessage) -> str:
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        return str(refusal)
    blocks = [] if isinstance(message.content, str) else message.content
    return "".join(
        str(block.get("refusal") or "it gave no reason")
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "refusal"
    )


def _parse(messages: Iterator[Any], make: Callable[[], _Answer]) -> Iterator[Any]:
    answer = make()
    latest: Any = None

    def chunks() -> Iterator[AIMessageChunk]:
        for message in messages:
            answer.see(message)
            if answer.may_stream(message):
                yield message

    for partial in answer.parser.transform(chunks()):
        if answer.may_be(partial):
            latest = partial
            yield partial
    result = answer.result()
    if latest is None or result != latest:  # in a stream LangChain's parsers skip unusual results
        yield result


async def _aparse(messages: AsyncIterator[Any], make: Callable[[], _Answer]) -> AsyncIterator[Any]:
    answer = make()
    latest: Any = None

    async def chunks() -> AsyncIterator[AIMessageChunk]:
        async for message in messages:
            answer.see(message)
            if answer.may_stream(message):
                yield message

    async for partial in answer.parser.atransform(chunks()):
        if answer.may_be(partial):
            latest = partial
            yield partial
    result = answer.result()
    if latest is None or result != latest:
        yield result


def _whole(message: Any) -> Any:
    return message_chunk_to_message(message) if isinstance(message, AIMessageChunk) else message


def _pair(messages: Iterator[Any], parser: Runnable[Any, Any]) -> Iterator[AddableDict]:
    whole: Any = None
    for message in messages:
        whole = message if whole is None else whole + message
        yield AddableDict(raw=message)
    try:
        yield AddableDict(parsed=parser.invoke(_whole(whole)), parsing_error=None)
    except Exception as error:  # the caller asked for it as a value
        yield AddableDict(parsed=None, parsing_error=error)


async def _apair(
    messages: AsyncIterator[Any], parser: Runnable[Any, Any]
) -> AsyncIterator[AddableDict]:
    whole: Any = None
    async for message in messages:
        whole = message if whole is None else whole + message
        yield AddableDict(raw=message)
    try:
        parsed = await parser.ainvoke(_whole(whole))
        yield AddableDict(parsed=parsed, parsing_error=None)
    except Exception as error:  # the caller asked for it as a value
        yield AddableDict(parsed=None, parsing_error=error)
