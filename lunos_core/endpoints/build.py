"""The common part of all requests: checked parameters, and the body as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from lunos_core.arguments import check_app_id, check_headers, meant_name
from lunos_core.config import SETTING_NAMES, check_timeout
from lunos_core.endpoints.params import Check
from lunos_core.request import Outgoing
from lunos_core.wire import json
from lunos_core.wire.multipart import FormFile, encode_form

RUN_METADATA = "run_metadata"
"""The option for the metadata of the framework's run, set by the adapters and never sent."""

_CALL_OPTIONS = (
    *("app_id", "extra_headers", "extra_body", "extra_query", "timeout"),
    RUN_METADATA,
)
_ADDED_UP = ("extra_body", "extra_headers", "extra_query")


def merge_options(params: dict[str, Any], *layers: Mapping[str, Any]) -> None:
    """Merge the extra body, headers and query of several layers, name by name.

    Args:
        params: a call's parameters, changed in place.
        layers: those with `extra_body` and the like; later ones override earlier ones.
    """
    given: dict[str, list[Any]] = {}
    for layer in layers:
        for name in _ADDED_UP:
            if layer.get(name):
                given.setdefault(name, []).append(layer[name])
    for name, items in given.items():
        if len(items) == 1:
            params[name] = items[0]
        elif all(isinstance(item, Mapping) for item in items):
            params[name] = {key: value for item in items for key, value in item.items()}
        # else the check of the call's parameters reports it


def check_params(params: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the parameters that are set, checked. `None` means "not set" and is not sent.

    Raises:
        TypeError: a value of the wrong type; the message names the parameter.
        ValueError: a value out of range.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name, value in given.items():
        check = checks.get(name)
        if check is not None:
            check(name, value)
    return given


def json_call(
    path: str,
    fields: Mapping[str, Any],
    params: Mapping[str, Any],
    checks: Mapping[str, Check],
) -> dict[str, Any]:
    """Return the common part of a JSON request, checked and encoded.

    Args:
        path: the endpoint's path.
        fields: the endpoint's required fields, such as `model`.
        params: the wire's parameters, and the options of the call: `app_id`, `timeout` and, as in
            OpenAI's client, `extra_headers`, `extra_body` (fields that this package doesn't know,
            put into the body unchecked) and `extra_query` (put into the URL).
        checks: the check of each parameter.

    Raises:
        TypeError: a parameter of the wrong type; the message names it.
        ValueError: a parameter out of range, an app id or header that cannot be sent.
    """
    body, facts = _checked(fields, params, checks)
    return {**facts, "path": path, "body": json.dumps(body)}


def form_call(
    path: str,
    fields: Mapping[str, Any],
    params: Mapping[str, Any],
    checks: Mapping[str, Check],
    file: FormFile,
) -> dict[str, Any]:
    """Return the common part of a request with a file: like `json_call`, as a multipart form.

    Args:
        path: the endpoint's path.
        fields: the endpoint's required fields, such as `model`.
        params: those of `json_call`.
        checks: the check of each parameter.
        file: sent as the form's `file`, after the other fields.

    Raises:
        TypeError: a parameter of the wrong type, or one that a form cannot contain.
        ValueError: a parameter out of range, an app id or header that cannot be sent.
    """
    form, facts = _checked(fields, params, checks)
    body, content_type = encode_form(form, file)
    return {**facts, "path": path, "body": body, "content_type": content_type}


# they would go into the body, even the key
_OF_THE_CLIENT = (SETTING_NAMES - set(_CALL_OPTIONS)) | {
    "api_base",
    "http_client",
    "http_async_client",
    "async_http_client",
}


_LIMITS = ("max_completion_tokens", "max_tokens")


def _checked(
    fields: Mapping[str, Any], params: Mapping[str, Any], checks: Mapping[str, Check]
) -> tuple[dict[str, Any], dict[str, Any]]:
    model = fields["model"]
    if not isinstance(model, str):
        raise TypeError(f"model must be a str, not {type(model).__name__}")
    if not model.strip():
        raise ValueError("model is empty: name one, such as 'openai/gpt-4'")
    if not _OF_THE_CLIENT.isdisjoint(params):
        name = min(_OF_THE_CLIENT & params.keys())
        raise TypeError(f"{name!r} is an argument of the constructor, not of a single call")
    for name in params:
        if name not in checks and name not in _CALL_OPTIONS:
            meant = meant_name(name, (*checks, *_CALL_OPTIONS))
            if meant is not None:
                raise TypeError(
                    f"{name!r} isn't a parameter: did you mean {meant!r}? If the server has "
                    "a parameter of exactly this name, pass it in extra_body"
                )
        if name in fields and name != "stream":
            raise TypeError(f"{name!r} is given twice: as what is asked, and as a parameter")
    body = {**fields, **check_params(params, checks)}
    app_id, headers, extra, query, timeout, metadata = [
        body.pop(option, None) for option in _CALL_OPTIONS
    ]
    if not fields.get("stream"):  # set for a model's streams, it is refused beside a whole answer
        body.pop("stream_options", None)
    if extra is not None:
        if not isinstance(extra, Mapping):
            raise TypeError(f"extra_body must be a mapping, not {type(extra).__name__}")
        body.update(extra)
    if bool(body.get("stream")) != bool(fields.get("stream")):
        raise TypeError("stream isn't a parameter: call the streaming or the other method")
    return body, {
        "model": body["model"],
        "app_id": app_id if app_id is None else check_app_id(app_id),
        "headers": {} if headers is None else check_headers(headers),
        "query": _query(query),
        "timeout": timeout if timeout is None else check_timeout(timeout),
        "user": body["user"] if isinstance(body.get("user"), str) else None,
        "max_tokens": next((body[n] for n in _LIMITS if type(body.get(n)) is int), None),
        "metadata": metadata,
    }


def _query(query: Any) -> str:
    if query is None:
        return ""
    if not isinstance(query, Mapping):
        raise TypeError(f"extra_query must be a mapping, not {type(query).__name__}")
    return urlencode(query, doseq=True)


R_co = TypeVar("R_co", bound=Outgoing, covariant=True)


class MakesRequest(Protocol[R_co]):
    """An endpoint's `*_request` function."""

    def __call__(self, content: Any, /, *, model: str, **params: Any) -> R_co:
        """Build the request."""
        ...


def fallback_of(
    make: MakesRequest[R_co], content: Any, params: Mapping[str, Any]
) -> Callable[[], R_co] | None:
    """Return a function that makes the same request for `fallback_model`, or `None` without one."""
    model = params.get("fallback_model")
    if model is None:
        return None
    others = {name: value for name, value in params.items() if name != "fallback_model"}
    return lambda: make(content, model=model, **others)
