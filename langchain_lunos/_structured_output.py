"""`with_structured_output`: a schema to a request, and an answer to an object, or to the reason."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableMap,
    RunnablePassthrough,
)
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_function,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_lunos.errors import LunosRefusalError, LunosTruncatedError

METHODS = ("json_schema", "function_calling", "json_mode")


def check_arguments(schema: Any, method: str, strict: bool | None) -> None:
    """Refuse what cannot work, before anything is bound.

    Raises:
        ValueError: an unknown method, no schema where one is needed, `strict` in JSON mode.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if method == "json_mode" and strict is not None:
        raise ValueError("strict needs a schema that the server sees: not with method='json_mode'")
    if method != "json_mode" and schema is None:
        raise ValueError(f"schema is missing: method={method!r} sends it to the server")


def to_bind(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:
    """What to bind to the model: the format or the forced tool, and the schema for tracers."""
    if method == "json_mode":
        bound: dict[str, Any] = {"response_format": {"type": "json_object"}}
    elif method == "json_schema":
        bound = {"response_format": to_response_format(schema, strict)}
    else:
        # the tool itself is bound by bind_tools
        bound = {"tool_choice": tool_name(schema)}
    settings = {"method": method} if strict is None else {"method": method, "strict": strict}
    if schema is not None:
        bound["ls_structured_output_format"] = {
            "kwargs": settings,
            "schema": convert_to_json_schema(schema),
        }
    return bound


def to_response_format(schema: Any, strict: bool | None = None) -> dict[str, Any]:
    """A schema as `response_format`; one that is a format already passes as it is."""
    if isinstance(schema, Mapping) and schema.get("type") in ("json_schema", "json_object", "text"):
        return dict(schema)
    function = convert_to_openai_function(schema, strict=strict)
    named: dict[str, Any] = {"name": function["name"], "schema": function["parameters"]}
    if function.get("description"):
        named["description"] = function["description"]
    if strict is not None:
        named["strict"] = strict
    return {"type": "json_schema", "json_schema": named}


def tool_name(schema: Any) -> str:
    """The name under which a schema is offered as a tool."""
    return str(convert_to_openai_tool(schema)["function"]["name"])


def to_parser(schema: Any, method: str) -> Runnable[Any, Any]:
    """What turns the answer into an object: checks first, then LangChain's own parser."""
    as_text = method != "function_calling"
    parser: Runnable[Any, Any]
    model = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    if method == "function_calling":
        if model is not None:
            parser = PydanticToolsParser(tools=[model], first_tool_only=True)
        else:
            parser = JsonOutputKeyToolsParser(key_name=tool_name(schema), first_tool_only=True)
    elif model is not None:
        parser = PydanticOutputParser(pydantic_object=model)
    else:
        parser = JsonOutputParser()
    check: Runnable[Any, Any] = RunnableGenerator(
        functools.partial(_explain, parser=parser, as_text=as_text),
        functools.partial(_aexplain, parser=parser, as_text=as_text),
        name="check_answer",
    )
    return check | parser


def with_raw(llm: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The answer itself beside the object, and the error in place of it: `include_raw=True`."""
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    nothing = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([nothing], exception_key="parsing_error")


class _Watch:
    """Looks at the answer as it goes by, and raises where it cannot be parsed, saying why.

    Args:
        parser: what reads the answer after this.
        as_text: the object is in the text, and not in a tool call.
    """

    def __init__(self, parser: Runnable[Any, Any], as_text: bool) -> None:
        self._parser = parser
        self._as_text = as_text
        self._chunks: list[AIMessageChunk] = []
        self._calls = False
        self._texts: list[str] = []  # joined once, at the end

    def see(self, message: Any) -> None:
        if not isinstance(message, AIMessage):
            return
        self._texts.append(message.text)
        self._calls = self._calls or bool(message.tool_calls or message.invalid_tool_calls)
        if isinstance(message, AIMessageChunk):
            self._chunks.append(message)
        # before the message goes on: LangChain's parsers would raise an error of their own
        refusal = _refusal_of(message)
        if refusal:
            raise LunosRefusalError(
                f"the model refused: {refusal}",
                llm_output=refusal,
                raw_message=self._added_up(message),
            )
        reason = message.response_metadata.get("finish_reason")
        if reason == "content_filter":
            raise LunosRefusalError(
                "the provider's content filter stopped the answer (finish_reason 'content_filter')",
                llm_output="".join(self._texts),
                raw_message=self._added_up(message),
            )
        if reason == "length":
            raise LunosTruncatedError(
                "the answer was cut off at max_tokens before it was whole (finish_reason "
                "'length'): raise max_tokens, or ask for less",
                llm_output=message.text,
            )
        whole = not isinstance(message, AIMessageChunk) or message.chunk_position == "last"
        if whole and message.invalid_tool_calls:  # LangChain's parsers would give None
            broken = message.invalid_tool_calls[0]
            raise OutputParserException(
                f"the model's arguments for {broken['name'] or 'the schema'!r} are no JSON object",
                llm_output=broken["args"],
            )

    def end(self) -> None:
        text = "".join(self._texts)
        if self._as_text and not _holds_json(text):
            # LangChain's parsers would complete it, or give nothing
            raise OutputParserException(
                f"the answer holds no whole JSON: {text[:200]!r}", llm_output=text
            )
        if not self._as_text and not self._calls:
            raise OutputParserException(
                f"the model called no tool, and said {text[:200]!r}", llm_output=text
            )
        if self._chunks:
            # in a stream LangChain's parsers leave out what doesn't fit the schema: parse once
            # more, whole, where they say what is wrong with it
            self._parser.invoke(self._added_up(None))

    def _added_up(self, message: Any) -> Any:
        """Return the message, or the chunks of it that have come."""
        if not self._chunks:
            return message
        first, *others = self._chunks
        return add_ai_message_chunks(first, *others)


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


def _holds_json(text: str) -> bool:
    """Whether a whole object or list is in the text; around it may be words, or a fence."""
    start = re.search(r"(?<=```json)\s*[{\[]", text) or re.search(r"[{\[]", text)
    try:
        return start is not None and bool(_DECODER.raw_decode(text, start.end() - 1))
    except (ValueError, RecursionError):
        return False


_DECODER = json.JSONDecoder(strict=False)


def _explain(messages: Iterator[Any], parser: Runnable[Any, Any], as_text: bool) -> Iterator[Any]:
    watch = _Watch(parser, as_text)
    for message in messages:
        watch.see(message)
        yield message
    watch.end()


async def _aexplain(
    messages: AsyncIterator[Any], parser: Runnable[Any, Any], as_text: bool
) -> AsyncIterator[Any]:
    watch = _Watch(parser, as_text)
    async for message in messages:
        watch.see(message)
        yield message
    watch.end()
