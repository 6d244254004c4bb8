"""Checks on request bodies, as tables from field to check."""

from __future__ import annotations

import re
from typing import Any

from lunos_local.checks import values
from lunos_local.checks.messages import check_messages
from lunos_local.checks.schemas import check_schema
from lunos_local.checks.values import Check, fail
from lunos_local.errors import WireError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _function_name(value: Any, path: str) -> None:
    values.string(value, path)
    if not _NAME.fullmatch(value):
        raise fail(path, f"{value!r} does not match ^[a-zA-Z0-9_-]{{1,64}}$", "invalid_value")


def _parameters(value: Any, path: str) -> None:
    values.an_object(value, path)
    if value and value.get("type", "object") != "object":
        raise fail(f"{path}.type", "the parameters of a function are an object", "invalid_value")
    check_schema(value, path)


_FUNCTION = values.fields(
    {
        "function": values.fields(
            {
                "name": _function_name,
                "description": values.string,
                "parameters": _parameters,
                "strict": values.boolean,
            },
            required=["name"],
        )
    },
    required=["function"],
)


def _tool(value: Any, path: str) -> None:
    values.an_object(value, path)
    values.one_of(["function", "web_search"])(value.get("type"), f"{path}.type")
    if value["type"] == "function":
        _FUNCTION(value, path)


def _tools(value: Any, path: str) -> None:
    values.array_of(_tool, least=1, most=128)(value, path)
    names: list[str] = []
    for i, tool in enumerate(value):
        name = tool["function"]["name"] if tool["type"] == "function" else ""
        if name and name in names:
            raise fail(f"{path}[{i}].function.name", f"{name!r} is used twice")
        names.append(name)


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, str):
        values.one_of(["none", "auto", "required"])(value, path)
        return
    values.fields(
        {
            "type": values.one_of(["function"]),
            "function": values.fields({"name": _function_name}, required=["name"]),
        },
        required=["type", "function"],
    )(value, path)


def _schema(value: Any, path: str) -> None:
    values.an_object(value, path)
    check_schema(value, path)


_JSON_SCHEMA = values.fields(
    {
        "name": _function_name,
        "description": values.string,
        "schema": _schema,
        "strict": values.boolean,
    },
    required=["name", "schema"],
)


def _response_format(value: Any, path: str) -> None:
    values.an_object(value, path)
    values.one_of(["text", "json_object", "json_schema"])(value.get("type"), f"{path}.type")
    if value["type"] == "json_schema":
        values.fields({"json_schema": _JSON_SCHEMA}, required=["json_schema"])(value, path)


def _logit_bias(value: Any, path: str) -> None:
    values.an_object(value, path)
    for token, bias in value.items():
        values.number(-100, 100)(bias, f"{path}.{token}")


_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"]
_REASONING = values.fields(
    {
        "effort": values.one_of(_EFFORTS),
        "max_tokens": values.integer(1),
        "exclude": values.boolean,
        "enabled": values.boolean,
    }
)
_PLUGIN = values.fields(
    {
        "id": values.filled_string,
        "pdf": values.fields({"engine": values.one_of(["mistral-ocr", "cloudflare-ai", "native"])}),
    },
    required=["id"],
)

_SAMPLING: dict[str, Check] = {
    "temperature": values.number(0, 2),
    "top_p": values.number(0, 1),
    "max_tokens": values.integer(1),
    "n": values.integer(1, 8),
    "stop": values.string_or_array(most=4),
    "seed": values.integer(),
    "stream": values.boolean,
    "stream_options": values.fields({"include_usage": values.boolean}),
    "presence_penalty": values.number(-2, 2),
    "frequency_penalty": values.number(-2, 2),
    "logit_bias": _logit_bias,
    "user": values.string,
    "fallback_model": values.filled_string,
    "observability": values.boolean,
}

CHAT: dict[str, Check] = {
    **_SAMPLING,
    "max_completion_tokens": values.integer(1),
    "logprobs": values.boolean,
    "top_logprobs": values.integer(0, 20),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": values.boolean,
    "response_format": _response_format,
    "reasoning": _REASONING,
    "reasoning_effort": values.one_of(_EFFORTS),
    "modalities": values.array_of(values.one_of(["text", "image", "audio"]), least=1),
    "image_config": values.fields({"aspect_ratio": values.string, "image_size": values.string}),
    "plugins": values.array_of(_PLUGIN),
}

COMPLETION: dict[str, Check] = {
    **_SAMPLING,
    "prompt": values.string_or_array(least=1),
    "logprobs": values.integer(0, 5),
    "echo": values.boolean,
    "suffix": values.string,
    "best_of": values.integer(1, 20),
}

EMBEDDING: dict[str, Check] = {
    "input": values.string_or_array(least=1, most=2048),
    "encoding_format": values.one_of(["float", "base64"]),
    "dimensions": values.integer(1, 4096),
    "user": values.string,
    "fallback_model": values.filled_string,
    "observability": values.boolean,
}


def _size(value: Any, path: str) -> None:
    values.matching(re.compile(r"[1-9]\d{0,3}x[1-9]\d{0,3}"), "a size such as 1024x1024")(
        value, path
    )
    if max(map(int, value.split("x"))) > _MAX_SIDE:
        raise fail(path, f"a side has at most {_MAX_SIDE} pixels", "out_of_range")


IMAGE: dict[str, Check] = {
    "prompt": values.filled_string,
    "n": values.integer(1, 8),
    "size": _size,
    "quality": values.one_of(["standard", "hd"]),
    "style": values.one_of(["vivid", "natural"]),
    "response_format": values.one_of(["url", "b64_json"]),
    "seed": values.integer(),
    "user": values.string,
    "fallback_model": values.filled_string,
}

_MAX_SIDE = 2048

SPEECH: dict[str, Check] = {
    "input": values.filled_string,
    "voice": values.filled_string,
    "response_format": values.one_of(["mp3", "opus", "aac", "flac", "wav", "pcm"]),
    "speed": values.number(0.25, 4),
    "instructions": values.string,
    "stream_format": values.one_of(["audio"]),
}
_MAX_SPEECH = 4096

# OpenAI's API refuses an explicit null for these
_NOT_NULL = ("tools", "tool_choice", "response_format", "parallel_tool_calls", "modalities")


def _check_body(given: Any, table: dict[str, Check], required: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise WireError("The request body must be a JSON object.", code="invalid_json")
    body: dict[str, Any] = given
    for name in required:
        if body.get(name) is None:
            raise values.missing(name)
    values.filled_string(body["model"], "model")
    for name, check in table.items():
        if name in body and (body[name] is not None or name in _NOT_NULL):
            check(body[name], name)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise fail("stream_options", "is only allowed when 'stream' is true")
    return body


def check_chat(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/chat/completions and return it."""
    body = _check_body(given, CHAT, ("model", "messages"))
    check_messages(body["messages"])
    tools = body.get("tools")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not tools:
            raise fail(name, "is only allowed when 'tools' are given")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        known = [tool["function"]["name"] for tool in tools or () if tool["type"] == "function"]
        if name not in known:
            raise fail("tool_choice.function.name", f"no tool is called {name!r}")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise fail("top_logprobs", "needs 'logprobs': true")
    return body


def check_completion(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/completions and return it."""
    return _check_body(given, COMPLETION, ("model", "prompt"))


def check_embedding(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/embeddings and return it."""
    body = _check_body(given, EMBEDDING, ("model", "input"))
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    for i, text in enumerate(inputs):
        if not text:
            path = "input" if isinstance(body["input"], str) else f"input[{i}]"
            raise fail(path, "must not be empty", "empty_string")
    return body


def check_speech(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/audio/speech and return it; the vendor's client omits `model`."""
    if isinstance(given, dict):
        given = {"model": "lunos/scripted-speech", **given}
    body = _check_body(given, SPEECH, ("model", "input"))
    if len(body["input"]) > _MAX_SPEECH:
        raise fail("input", f"must have at most {_MAX_SPEECH:,} characters", "string_too_long")
    return body


def check_video(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/video/generations and return it."""
    return _check_body(given, {"prompt": values.filled_string}, ("model", "prompt"))


def check_image(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/images/generations and return it."""
    body = _check_body(given, IMAGE, ("model", "prompt"))
    if body.get("stream"):
        raise fail("stream", "images aren't streamed")
    return body
