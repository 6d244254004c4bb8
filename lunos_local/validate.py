"""Checks on whole request bodies, as tables of field -> check."""

from __future__ import annotations

import re
from typing import Any

from lunos_local import checks
from lunos_local.checks import Check, fail
from lunos_local.errors import WireError
from lunos_local.validate_messages import check_messages

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _function_name(value: Any, path: str) -> None:
    checks.string(value, path)
    if not _NAME.fullmatch(value):
        raise fail(path, f"{value!r} does not match ^[a-zA-Z0-9_-]{{1,64}}$", "invalid_value")


def _parameters(value: Any, path: str) -> None:
    checks.an_object(value, path)
    if value and value.get("type", "object") != "object":
        raise fail(f"{path}.type", "the parameters of a function are an object", "invalid_value")


_FUNCTION = checks.fields(
    {
        "function": checks.fields(
            {
                "name": _function_name,
                "description": checks.string,
                "parameters": _parameters,
                "strict": checks.boolean,
            },
            required=["name"],
        )
    },
    required=["function"],
)


def _tool(value: Any, path: str) -> None:
    checks.an_object(value, path)
    checks.one_of(["function", "web_search"])(value.get("type"), f"{path}.type")
    if value["type"] == "function":
        _FUNCTION(value, path)


def _tools(value: Any, path: str) -> None:
    checks.array_of(_tool, least=1, most=128)(value, path)
    names: list[str] = []
    for index, tool in enumerate(value):
        name = tool["function"]["name"] if tool["type"] == "function" else ""
        if name and name in names:
            raise fail(f"{path}[{index}].function.name", f"{name!r} is used twice")
        names.append(name)


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, str):
        checks.one_of(["none", "auto", "required"])(value, path)
        return
    checks.fields(
        {
            "type": checks.one_of(["function"]),
            "function": checks.fields({"name": _function_name}, required=["name"]),
        },
        required=["type", "function"],
    )(value, path)


_JSON_SCHEMA = checks.fields(
    {
        "name": _function_name,
        "description": checks.string,
        "schema": checks.an_object,
        "strict": checks.boolean,
    },
    required=["name", "schema"],
)


def _response_format(value: Any, path: str) -> None:
    checks.an_object(value, path)
    checks.one_of(["text", "json_object", "json_schema"])(value.get("type"), f"{path}.type")
    if value["type"] == "json_schema":
        checks.fields({"json_schema": _JSON_SCHEMA}, required=["json_schema"])(value, path)


def _logit_bias(value: Any, path: str) -> None:
    checks.an_object(value, path)
    for token, bias in value.items():
        checks.number(-100, 100)(bias, f"{path}.{token}")


_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"]
_REASONING = checks.fields(
    {
        "effort": checks.one_of(_EFFORTS),
        "max_tokens": checks.integer(1),
        "exclude": checks.boolean,
        "enabled": checks.boolean,
    }
)
_PLUGIN = checks.fields(
    {
        "id": checks.filled_string,
        "pdf": checks.fields({"engine": checks.one_of(["mistral-ocr", "cloudflare-ai", "native"])}),
    },
    required=["id"],
)

_SAMPLING: dict[str, Check] = {
    "temperature": checks.number(0, 2),
    "top_p": checks.number(0, 1),
    "max_tokens": checks.integer(1),
    "n": checks.integer(1, 8),
    "stop": checks.string_or_array(most=4),
    "seed": checks.integer(),
    "stream": checks.boolean,
    "stream_options": checks.fields({"include_usage": checks.boolean}),
    "presence_penalty": checks.number(-2, 2),
    "frequency_penalty": checks.number(-2, 2),
    "logit_bias": _logit_bias,
    "user": checks.string,
    "fallback_model": checks.filled_string,
    "observability": checks.boolean,
}

CHAT: dict[str, Check] = {
    **_SAMPLING,
    "max_completion_tokens": checks.integer(1),
    "logprobs": checks.boolean,
    "top_logprobs": checks.integer(0, 20),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": checks.boolean,
    "response_format": _response_format,
    "reasoning": _REASONING,
    "reasoning_effort": checks.one_of(_EFFORTS),
    "modalities": checks.array_of(checks.one_of(["text", "image", "audio"]), least=1),
    "image_config": checks.fields({"aspect_ratio": checks.string, "image_size": checks.string}),
    "plugins": checks.array_of(_PLUGIN),
}

COMPLETION: dict[str, Check] = {
    **_SAMPLING,
    "prompt": checks.string_or_array(least=1),
    "logprobs": checks.integer(0, 5),
    "echo": checks.boolean,
    "suffix": checks.string,
    "best_of": checks.integer(1, 20),
}

EMBEDDING: dict[str, Check] = {
    "input": checks.string_or_array(least=1, most=2048),
    "encoding_format": checks.one_of(["float", "base64"]),
    "dimensions": checks.integer(1, 4096),
    "user": checks.string,
    "fallback_model": checks.filled_string,
    "observability": checks.boolean,
}

IMAGE: dict[str, Check] = {
    "prompt": checks.filled_string,
    "n": checks.integer(1, 8),
    "size": checks.matching(re.compile(r"[1-9]\d{0,3}x[1-9]\d{0,3}"), "a size such as 1024x1024"),
    "quality": checks.one_of(["standard", "hd"]),
    "style": checks.one_of(["vivid", "natural"]),
    "response_format": checks.one_of(["url", "b64_json"]),
    "seed": checks.integer(),
    "user": checks.string,
    "fallback_model": checks.filled_string,
}

# an explicit null is not "left out" here: OpenAI's dialect has no null for these
_NOT_NULL = ("tools", "tool_choice", "response_format", "parallel_tool_calls", "modalities")


def _check_body(given: Any, table: dict[str, Check], required: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise WireError("The body must be a JSON object.", code="invalid_json")
    body: dict[str, Any] = given
    for name in required:
        if body.get(name) is None:
            raise WireError(
                f"Missing required parameter: '{name}'",
                param=name,
                code="missing_required_parameter",
            )
    checks.filled_string(body["model"], "model")
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
        wanted = choice["function"]["name"]
        known = [tool["function"]["name"] for tool in tools or () if tool["type"] == "function"]
        if wanted not in known:
            raise fail("tool_choice.function.name", f"no tool is called {wanted!r}")
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
    for index, text in enumerate(inputs):
        if not text:
            path = "input" if isinstance(body["input"], str) else f"input[{index}]"
            raise fail(path, "must not be empty", "empty_string")
    return body


def check_image(given: Any) -> dict[str, Any]:
    """Check the body of POST /v1/images/generations and return it."""
    return _check_body(given, IMAGE, ("model", "prompt"))
