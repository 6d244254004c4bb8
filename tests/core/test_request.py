"""A request as a value: its address, its headers, and what is read of a reply."""

from __future__ import annotations

from typing import Any

import pytest

from lunos_core import Config, LunosResponseError, LunosServerError
from lunos_core.endpoints.build import json_call
from lunos_core.request import Outgoing, Reply, Request, StreamRequest, unwrap
from lunos_core.wire.text import decimal_of, flag_of

KEY = "sk-hush-0123456789"
CONFIG = Config(api_key=KEY, base_url="https://h/v1", default_headers={"X-Own": "1"})


@pytest.mark.parametrize(
    ("facts", "url"),
    [
        ({}, "https://h/v1/a"),
        ({"query": "x=1"}, "https://h/v1/a?x=1"),
        ({"public": True}, "https://h/a"),
    ],
)
def test_a_request_is_sent_below_the_base_url_or_the_root(facts: Any, url: str) -> None:
    assert Outgoing(path="/a", **facts).url(CONFIG) == url


@pytest.mark.parametrize("kind", [Outgoing, Request, StreamRequest])
def test_the_facts_of_a_request_are_given_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        kind("/a")


OURS = ("accept", "authorization", "content-type", "user-agent", "x-own")


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ({"body": b"{}"}, OURS),
        ({}, tuple(name for name in OURS if name != "content-type")),
        (
            {"body": b"a", "content_type": None},
            tuple(name for name in OURS if name != "content-type"),
        ),
    ],
)
def test_a_request_without_a_body_has_no_content_type(facts: Any, names: tuple[str, ...]) -> None:
    sent = Outgoing(path="/a", **facts).all_headers(CONFIG, key=KEY, app_id=None)
    assert tuple(sorted(sent)) == names
    assert sent["authorization"] == f"Bearer {KEY}"


def test_the_users_headers_win_and_an_app_id_wins_over_them() -> None:
    headers = {"Accept": "text/plain", "X-App-ID": "old", "x-OWN": "2"}
    request = Outgoing(path="/a", headers=headers)
    sent = request.all_headers(CONFIG, key=None, app_id="new")
    assert (sent["accept"], sent["x-app-id"], sent["x-own"]) == ("text/plain", "new", "2")
    assert "authorization" not in sent
    assert request.all_headers(CONFIG, key=None, app_id=None)["x-app-id"] == "old"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (
            b'{"data": {"choices": []}, "id": "1"}',
            {"data": {"choices": []}, "choices": [], "id": "1"},
        ),
        (b'{"data": {"a": 1}, "choices": []}', {"data": {"a": 1}, "choices": []}),
        (b'{"data": [1]}', {"data": [1]}),
    ],
)
def test_an_answer_is_an_object_perhaps_in_an_envelope(body: bytes, value: Any) -> None:
    assert Reply(200, {}, body).json() == value
    assert unwrap(value) == value


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (
            b"[1]",
            {"content-type": "application/json; charset=x"},
            "(application/json, 3 bytes) isn't a JSON object: '[1]'",
        ),
        (b"<p>\n Hi", {}, "(no content type, 7 bytes) isn't valid JSON: '<p> Hi'"),
        (b"x" * 300, {}, f"(no content type, 300 bytes) isn't valid JSON: '{'x' * 200}'"),
    ],
)
def test_an_invalid_answer_is_reported_with_its_type_length_and_start(
    body: bytes, headers: dict[str, str], said: str
) -> None:
    with pytest.raises(LunosResponseError) as caught:
        Reply(203, headers, body).json()
    assert caught.value.message == f"the server's answer {said}"
    assert (caught.value.status, caught.value.response.status_code) == (203, 203)


def test_an_error_with_a_successful_status_carries_the_answer_without_the_key() -> None:
    body = f'{{"error": {{"message": "no {KEY}", "code": "overloaded"}}}}'.encode()
    reply = Reply(200, {"x-request-id": KEY}, body, secret=KEY)
    with pytest.raises(LunosServerError) as caught:
        reply.value()
    assert KEY not in repr((caught.value.message, caught.value.response, reply.request_id))
    assert caught.value.response.text.startswith('{"error"')
    assert Reply(200, {}, b"").request_id is None
    assert KEY not in repr(reply)
    assert (reply.attempts, reply.fallback) == (1, False)


def test_what_is_printed_of_a_request_shows_no_header() -> None:
    request = Outgoing(path="/a", headers={"x": KEY}, metadata={"x": KEY})
    assert KEY not in repr(request)
    with pytest.raises(AttributeError):
        request.path = "/b"  # type: ignore[misc]  # what a caller may do


# --- what every call has -------------------------------------------------------------------------


def facts_of(**params: Any) -> dict[str, Any]:
    return json_call("/a", {"model": "m"}, params, {})


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 4, "max_tokens": 5}, "max_tokens", 4),
        ({"max_tokens": True}, "max_tokens", None),
        ({"extra_body": {"max_tokens": 6}}, "max_tokens", 6),
        ({}, "max_tokens", None),
        ({"user": "u"}, "user", "u"),
        ({"user": 7}, "user", None),
        ({"extra_body": {"model": "n"}}, "model", "n"),
        ({"extra_query": {"a": [1, 2], "b": "x y"}}, "query", "a=1&a=2&b=x+y"),
        ({}, "query", ""),
        ({"app_id": " a "}, "app_id", "a"),
        ({"extra_headers": {"a": " b\t"}}, "headers", {"a": "b"}),
        ({}, "headers", {}),
        ({"timeout": 3}, "timeout", 3),
        ({"run_metadata": {"a": 1}}, "metadata", {"a": 1}),
        ({"x": 1, "y": None, "timeout": 3}, "body", b'{"model":"m","x":1}'),
        ({"x": 1, "extra_body": {"x": 2, "z": None}}, "body", b'{"model":"m","x":2,"z":null}'),
    ],
)
def test_options_of_a_call_are_facts_of_the_request_and_the_rest_is_its_body(
    params: dict[str, Any], name: str, value: Any
) -> None:
    assert facts_of(**params)[name] == value


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"extra_body": [1]}, TypeError, "extra_body must be a mapping, not list"),
        ({"extra_query": "a=1"}, TypeError, "extra_query must be a mapping, not str"),
        ({"api_key": "k"}, TypeError, "'api_key' is an argument of the constructor"),
        ({"http_client": 1, "max_retries": 1}, TypeError, "'http_client' is an argument of the"),
        ({"extra_headers": 7}, TypeError, "headers must be a mapping, not int"),
        ({"extra_headers": {"a": 7}}, TypeError, "header 'a': name and value must be str"),
        ({"extra_headers": {"a b": "c"}}, ValueError, "'a b' isn't a valid name"),
        ({"extra_headers": {"a": "b\nc"}}, ValueError, "the value of header 'a' contains line"),
        ({"app_id": "a\tb"}, ValueError, "cannot travel in the X-App-ID header"),
        ({"app_id": "  "}, ValueError, "app_id is empty"),
        ({"app_id": 7}, TypeError, "app_id must be a str, not int"),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused_by_its_name(
    params: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        facts_of(**params)


@pytest.mark.parametrize(("model", "error"), [(" ", ValueError), ("", ValueError), (7, TypeError)])
def test_a_call_without_a_model_is_refused(model: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"model (is empty|must be a str)"):
        json_call("/a", {"model": model}, {}, {})


# --- numbers and flags of servers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "flag"),
    [
        *((True, True), (1, True), ("1", True), (" TRUE ", True), ("yes", True)),
        *((False, False), (0, False), ("0", False), ("False", False), ("no", False)),
        *((None, None), (2, None), ("", None), (1.0, None), ([], None), ("on", None)),
    ],
)
def test_a_flag_is_read_in_each_spelling(sent: Any, flag: bool | None) -> None:
    assert flag_of(sent) is flag


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        *((0.1, "0.1"), (7, "7"), (" 7 ", "7"), ("$1,234.50", "1234.50"), ("5 USD", "5")),
        *(("-1,000", "-1000"), ("1,000,000", "1000000"), ("1e3", "1E+3"), ("9" * 40, "9" * 40)),
        *((True, None), (None, None), ("NaN", None), ("Infinity", None), ("", None)),
        *(("9" * 41, None), ("1,00", None), ("12,34,567", None), ("a", None), ([1], None)),
    ],
)
def test_a_number_is_read_exactly_or_not_at_all(sent: Any, number: str | None) -> None:
    result = decimal_of(sent)
    assert (None if result is None else str(result)) == number
