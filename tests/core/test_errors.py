"""Error answers in all their shapes, and errors as values."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import langchain_lunos
import llama_index_lunos
import lunos_core
from lunos_core import (
    Completion,
    LunosAPIError,
    LunosBadRequestError,
    LunosConfigError,
    LunosConnectionError,
    LunosContextOverflowError,
    LunosError,
    LunosRateLimitError,
    LunosResponseError,
    LunosServerError,
    LunosStreamInterruptedError,
    LunosTimeoutError,
    balance_request,
    chat_request,
    chat_stream_request,
    models_request,
)
from lunos_core.errors import ErrorMap, ErrorRequest, ErrorResponse
from lunos_core.wire.error_bodies import error_from_response, error_in_answer
from tests.core.wire_samples import HELLO, Wire, raw, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

SHAPES = stored("errors")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["about"])
async def test_each_error_answer_becomes_its_class_with_its_facts(
    both: Both, shape: dict[str, Any]
) -> None:
    headers = {**shape.get("headers", {}), "x-request-id": "req-1"}
    if "body" in shape:
        wire = Wire(reply(shape["body"], shape["status"], **headers))
    else:
        headers |= {"content-type": shape["content_type"]} if "content_type" in shape else {}
        wire = Wire(raw(shape["text"].encode(), shape["status"], **headers))
    client = both.client(wire, max_retries=0)
    with pytest.raises(LunosAPIError) as caught:
        await both(client.send(chat_request(HELLO, model="m", app_id="app")))
    error, expected = caught.value, dict(shape["expect"])
    assert type(error).__name__ == expected.pop("class")
    result = {"message", "code", "param", "type", "retry_after"}
    assert {n: getattr(error, n) for n in result if getattr(error, n) is not None} == expected
    assert (error.status, error.request_id) == (shape["status"], "req-1")
    assert (error.app_id, error.model, error.attempts) == ("app", "m", 1)
    assert error.response is not None
    assert error.response.status_code == shape["status"]
    if "body" in shape:
        assert error.response.json() == shape["body"]
    for fact in ("req-1", "app", str(shape["status"]), error.message):
        assert fact in str(error)


@pytest.mark.parametrize("status", [301, 400, 404, 418, 429, 500, 599])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[1]", b'{"error": null}', b'{"error": [1]}', b'{"error": {}}', b"\xff\x00",
     b'{"error": {"message": {"a": 1}}}', b'{"error": true}', b'{"error": {"code": 5e400}}',
     b'"text"', b'{"message": 7}'],
)  # fmt: skip
def test_any_error_body_is_a_typed_error_with_a_message(status: int, body: bytes) -> None:
    error = error_from_response(status, {}, body)
    assert isinstance(error, LunosAPIError)
    assert error.status == status
    assert error.message
    assert str(error)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens",
        "prompt is too long: 300000 tokens > 200000 maximum",
        "the request exceeds the available context size",
        "Input exceeds the context window of this model",
        "Please reduce the length of the messages",
    ],
)
def test_a_prompt_that_is_too_long_is_distinguished_from_other_bad_requests(words: str) -> None:
    body = b'{"error": {"message": "%s"}}' % words.encode()
    assert type(error_from_response(400, {}, body)) is LunosContextOverflowError
    assert type(error_from_response(404, {}, body)) is not LunosContextOverflowError
    other = error_from_response(400, {}, b'{"error": {"message": "max_tokens is too large"}}')
    assert type(other) is LunosBadRequestError


@pytest.mark.parametrize(
    ("code", "status"),
    [("429", 429), (429, 429), ("insufficient_quota", 402), ("overloaded_error", 503),
     ("invalid_api_key", 401), ("what", 200), (None, 200), (7, 200), ("99999999999", 200),
     ("²", 200), ("-1", 200), ("BAD_REQUEST", 400), ("Bad Request", 400), ("found", 200),
     ("not-found", 404), ("400", 400), ("599", 599), ("399", 200), ("600", 200)],
)  # fmt: skip
def test_an_error_with_a_successful_status_gets_the_status_of_its_code(
    code: Any, status: int
) -> None:
    error = error_in_answer({"error": {"code": code, "message": "x"}})
    assert error is not None
    assert error.status == status


def test_an_error_by_itself_has_no_facts() -> None:
    assert {name: value for name, value in LunosError("no").facts().items() if value} == {}
    assert LunosError("no").attempts == 0


def test_an_answer_without_an_error_holds_none() -> None:
    for value in ({}, {"error": None}, {"error": {}}, {"error": ""}, [], None, "error", 7):
        assert error_in_answer(value) is None


ALL = [kind for kind in vars(lunos_core.errors).values()
       if isinstance(kind, type) and issubclass(kind, LunosError)]  # fmt: skip


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_survives_a_pickle_and_a_copy_with_its_facts(kind: type[LunosError]) -> None:
    error = kind(
        "It failed",
        status=429,
        code="c",
        retry_after=1.5,
        attempts=3,
        partial=Completion(choices=[]),
        response=ErrorResponse(429, {"a": "b"}, "text"),
    )
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error) == "It failed (status 429, code c, attempts 3)"
        assert again.facts() == error.facts()
        assert again.args == error.args
        assert again.param is None


def test_the_tree_is_what_callers_catch() -> None:
    assert issubclass(LunosConfigError, ValueError)
    assert issubclass(LunosTimeoutError, LunosConnectionError)
    assert issubclass(LunosStreamInterruptedError, LunosResponseError)
    assert issubclass(LunosContextOverflowError, LunosBadRequestError)
    assert not issubclass(LunosResponseError, LunosAPIError)
    assert set(ALL) == {getattr(lunos_core, kind.__name__) for kind in ALL}


def test_a_rate_limit_counted_in_tokens_is_not_an_overflow() -> None:
    body = b'{"error": {"message": "maximum number of tokens per minute reached"}}'
    assert type(error_from_response(429, {}, body)) is LunosRateLimitError


def test_an_error_without_facts_shows_only_its_message() -> None:
    assert str(LunosError("It failed", attempts=1)) == "It failed"
    assert str(LunosError("It failed", attempts=2)) == "It failed (attempts 2)"
    with pytest.raises(TypeError, match="statuss"):
        LunosError("It failed", statuss=1)


class _Mine(LunosRateLimitError):
    pass


class _MyPartial(LunosServerError):
    pass


def test_a_note_that_was_added_leaves_with_the_adapters_class() -> None:
    error = LunosRateLimitError("Slow", partial="half")
    error.add_note("asked by the night job")
    mapped = ErrorMap({LunosRateLimitError: _Mine}).apply(error)
    assert (type(mapped), mapped.__notes__) == (_Mine, ["asked by the night job"])
    assert (mapped.message, mapped.partial) == ("Slow", "half")
    assert ErrorMap().apply(error) is error


async def test_errors_leave_as_the_adapters_classes_with_all_their_facts(both: Both) -> None:
    errors = ErrorMap({LunosRateLimitError: _Mine})
    wire = Wire(reply({"error": {"message": "Slow"}}, 429, retry_after="7", x_request_id="r"))
    client = both.client(wire, errors=errors, max_retries=0)
    with pytest.raises(_Mine) as caught:
        await both(client.send(chat_request(HELLO, model="m")))
    assert (caught.value.retry_after, caught.value.request_id) == (7.0, "r")
    assert caught.value.message == "Slow"


async def test_a_partial_answer_leaves_as_the_adapters_type(both: Both) -> None:
    answer = {"choices": [{"message": {"content": "Half"}, "finish_reason": "error"}]}
    errors = ErrorMap({LunosServerError: _MyPartial}, partial=lambda partial: partial.text)
    client = both.client(Wire(reply(answer)), errors=errors, max_retries=0)
    with pytest.raises(_MyPartial) as caught:
        await both(client.send(chat_request(HELLO, model="m")))
    assert caught.value.partial == "Half"


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(
    ("code", "kind", "meant"),
    [
        ("UNAUTHORIZED", lunos_core.LunosAuthenticationError, 401),
        ("PAYMENT_REQUIRED", lunos_core.LunosPaymentError, 402),
        ("INSUFFICIENT_BALANCE", lunos_core.LunosPaymentError, 402),
        ("FORBIDDEN", lunos_core.LunosPermissionError, 403),
        ("NOT_FOUND", lunos_core.LunosNotFoundError, 404),
        ("TOO_MANY_REQUESTS", LunosRateLimitError, 429),
        ("BAD_REQUEST", LunosBadRequestError, 400),
        ("INTERNAL_SERVER_ERROR", LunosServerError, 500),
    ],
)
async def test_an_answer_without_success_is_the_error_that_its_code_stands_for(
    both: Both, status: int, code: str, kind: type[LunosError], meant: int
) -> None:
    body = {"success": False, "message": "Secret key expired", "error": code}
    client = both.client(Wire(reply(body, status)), max_retries=0)
    with pytest.raises(LunosAPIError) as caught:
        await both(client.send(chat_request(HELLO, model="m")))
    error = caught.value
    assert type(error) is kind
    assert (error.message, error.code, error.status) == ("Secret key expired", code, meant)
    assert error.body == body


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"success": False, "message": "no"}, {"message": "no", "code": None}),
        ({"success": False, "error": "no"}, {"message": "no", "code": None}),
        ({"success": False, "error": {"message": "no", "code": "x"}}, {"message": "no"}),
        ({"success": "false", "message": "no", "data": None}, {"message": "no"}),
        ({"message": "no", "error": "Bad Gateway"}, {"message": "no", "type": "Bad Gateway"}),
    ],
)
def test_neighbours_of_that_shape_are_errors_too(body: Any, facts: dict[str, Any]) -> None:
    error = error_in_answer(body)
    assert error is not None
    assert {name: getattr(error, name) for name in facts} == facts


@pytest.mark.parametrize(
    "body", [{"success": True}, {"success": False, "choices": [1]}, {"success": False, "data": [1]}]
)
def test_an_answer_with_results_is_not_an_error(body: Any) -> None:
    assert error_in_answer(body) is None


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"success": False, "error": "UNAUTHORIZED"},
            lunos_core.LunosAuthenticationError,
            "UNAUTHORIZED",
        ),
        (
            {"success": "False", "message": "no", "error": "INSUFFICIENT_CREDITS"},
            lunos_core.LunosPaymentError,
            "no",
        ),
        ({"success": 0, "message": "no", "statusCode": 429}, LunosRateLimitError, "no"),
        ({"success": False, "message": ["a", "b"], "error": "BAD_REQUEST"}, None, "a; b"),
        ({"success": False, "message": {"text": "no"}, "code": "VALIDATION_ERROR"}, None, "no"),
        (
            {"success": False, "message": "no", "error": "FORBIDDEN", "data": {"balance": 0}},
            lunos_core.LunosPermissionError,
            "no",
        ),
        (
            {"status": "error", "message": "no", "code": "TOKEN_EXPIRED"},
            lunos_core.LunosAuthenticationError,
            "no",
        ),
        ({"object": "error", "message": "no", "code": 429}, LunosRateLimitError, "no"),
        ({"id": "x", "data": {"error": {"message": "no", "code": 429}}}, LunosRateLimitError, "no"),
        ([{"error": {"code": 429, "message": "no"}}], LunosRateLimitError, "no"),
        (
            [{"success": False, "message": "no", "code": "NOT_FOUND"}],
            lunos_core.LunosNotFoundError,
            "no",
        ),
    ],
)
@pytest.mark.parametrize("how", ["whole", "listed", "streamed", "status"])
async def test_an_error_body_is_the_error_of_its_code_wherever_it_comes(
    both: Both, how: str, body: Any, kind: type[LunosError] | None, message: str
) -> None:
    event = b"data: " + json.dumps(body).encode() + b"\n\n"
    answer = raw(event, content_type="text/event-stream") if how == "streamed" else reply(body)
    request: Any = models_request() if how == "listed" else balance_request()
    if how == "status":
        answer = reply(body, 429)
    client = both.client(Wire(answer), max_retries=0)
    stream = chat_stream_request(HELLO, model="m")
    with pytest.raises(kind or LunosBadRequestError) as caught:
        await (both.chunks(client, stream) if how == "streamed" else both(client.send(request)))
    assert caught.value.message == message


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("status", [200, 401])
async def test_an_error_answer_is_read_in_every_encoding(
    both: Both, encoding: str, status: int
) -> None:
    text = '{"error": {"message": "kein Schlüssel", "code": "invalid_api_key"}}'
    client = both.client(Wire(raw(text.encode(encoding), status)), max_retries=0)
    with pytest.raises(lunos_core.LunosAuthenticationError, match="kein Schlüssel"):
        await both(client.send(chat_request(HELLO, model="m")))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
async def test_a_whole_answer_is_read_in_every_encoding(both: Both, encoding: str) -> None:
    text = '{"choices": [{"message": {"content": "größer 😀", "x": NaN}}], "usage": {"cost": NaN}}'
    client = both.client(Wire(raw(text.encode(encoding))))
    answer = await both(client.send(chat_request(HELLO, model="m")))
    assert answer.text == "größer 😀"


EVERY = [
    getattr(package, name)
    for package in (lunos_core, langchain_lunos, llama_index_lunos)
    for name in package.__all__
    if name.endswith("Error")
]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_of_the_three_packages_has_the_names_that_users_type(kind: Any) -> None:
    error = kind("It failed")
    assert (error.status_code, error.body, error.request, error.headers) == (None, None, None, {})
    error.status = 429
    error.response = ErrorResponse(429, {"a": "b"}, '{"c": 1}')
    error.request = ErrorRequest("POST", "https://lunos.test/v1")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.status_code, again.body, again.headers) == (429, {"c": 1}, {"a": "b"})
    assert again.request == error.request
    assert str(again).startswith("It failed")  # LangChain repeats its own words in a pickle
