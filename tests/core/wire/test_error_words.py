"""The codes and words of errors, and what each stands for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lunos_core import (
    LunosAPIError,
    LunosAuthenticationError,
    LunosBadRequestError,
    LunosConflictError,
    LunosContextOverflowError,
    LunosNotFoundError,
    LunosPaymentError,
    LunosPermissionError,
    LunosRateLimitError,
    LunosServerError,
)
from lunos_core.wire.error_bodies import (
    error_from_response,
    error_in_answer,
    retry_after_seconds,
)

WORDS = {
    400: "invalid_request invalid_request_error bad_request",
    401: "authentication_error unauthenticated unauthorized invalid_api_key invalid_secret_key "
    "secret_key_expired token_expired",
    402: "insufficient_quota insufficient_balance insufficient_credit insufficient_credits "
    "insufficient_funds payment_required",
    403: "permission_error permission_denied forbidden",
    404: "not_found_error model_not_found not_found",
    408: "request_timeout",
    409: "conflict",
    # Python 3.13 has other names for these than those before
    413: "request_entity_too_large content_too_large",
    414: "request_uri_too_long uri_too_long",
    416: "requested_range_not_satisfiable range_not_satisfiable",
    422: "validation_error unprocessable_entity unprocessable_content",
    429: "rate_limit rate_limited rate_limit_error rate_limit_exceeded too_many_requests",
    500: "api_error internal_error server_error internal_server_error",
    503: "overloaded overloaded_error service_unavailable",
}
CLASSES = {
    200: LunosAPIError,
    399: LunosAPIError,
    400: LunosBadRequestError,
    401: LunosAuthenticationError,
    402: LunosPaymentError,
    403: LunosPermissionError,
    404: LunosNotFoundError,
    405: LunosBadRequestError,
    407: LunosAuthenticationError,
    408: LunosServerError,
    409: LunosConflictError,
    413: LunosBadRequestError,
    414: LunosBadRequestError,
    416: LunosBadRequestError,
    422: LunosBadRequestError,
    425: LunosServerError,
    429: LunosRateLimitError,
    499: LunosBadRequestError,
    500: LunosServerError,
    503: LunosServerError,
    599: LunosServerError,
}


@pytest.mark.parametrize("status", WORDS)
def test_a_word_stands_for_its_status(status: int) -> None:
    for word in WORDS[status].split():
        for spelled in (word, word.upper(), word.replace("_", "-"), word.title().replace("_", " ")):
            for field in ("code", "type"):
                error = error_in_answer({"error": {"message": "no", field: spelled}})
                assert error is not None
                assert (error.status, type(error)) == (status, CLASSES[status]), spelled


@pytest.mark.parametrize("status", CLASSES)
def test_a_status_has_its_class(status: int) -> None:
    error = error_from_response(status, {}, b'{"error": {"message": "no"}}')
    assert (type(error), error.status) == (CLASSES[status], status)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((400, 400), ("404", 404), (599, 599), ("429", 429)),
        *(
            (399, 200),
            (600, 200),
            ("4040", 200),
            ("04040", 200),
            ("²", 200),
            ("40x", 200),
            ("", 200),
        ),
    ],
)
def test_a_code_in_digits_is_a_status_where_it_can_be(code: Any, status: int) -> None:
    error = error_in_answer({"error": {"message": "no", "code": code}})
    assert error is not None
    assert error.status == status


@pytest.mark.parametrize("name", ["statusCode", "status_code", "status"])
@pytest.mark.parametrize(
    ("number", "status"), [(400, 400), (599, 599), (399, 200), (600, 200), ("404", 200)]
)
def test_a_number_beside_the_message_is_its_status(name: str, number: Any, status: int) -> None:
    error = error_in_answer({"error": {"message": "no", name: number}})
    assert error is not None
    assert (error.status, error.code) == (status, str(number) if status != 200 else None)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
def test_a_prompt_that_is_too_long_is_so_under_these_statuses(status: int) -> None:
    body = b'{"error": {"message": "the maximum context length is 10"}}'
    overflows = isinstance(error_from_response(status, {}, body), LunosContextOverflowError)
    assert overflows is (status in (400, 413, 422, 429, 500))


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"error": "No credit"}, ("No credit", None, None)),
        ({"error": "NO_CREDIT"}, ("NO_CREDIT", "NO_CREDIT", None)),
        ({"error": "NO_CREDIT", "message": "m"}, ("m", "NO_CREDIT", None)),
        ({"error": "No credit", "message": "m"}, ("m", None, "No credit")),
        ({"error": "No credit", "message": "m", "type": "t"}, ("m", None, "t")),
        ({"error": "NO_CREDIT", "message": "m", "code": "c"}, ("m", "c", None)),
        ({"error": {"message": ["a", "", 7, "b"]}}, ("a; b", None, None)),
        ({"error": {"message": {"message": "a", "text": "b"}}}, ("a; b", None, None)),
        ({"error": {"message": {"text": "b"}}}, ("b", None, None)),
        ({"error": {"code": "c", "message": ""}}, (None, "c", None)),
        ([{"error": {"message": "of Google"}}], ("of Google", None, None)),
        ({"data": {"error": {"message": "in it"}}}, ("in it", None, None)),
    ],
)
def test_the_facts_of_an_error_are_found_in_each_shape(
    body: Any, facts: tuple[str | None, ...]
) -> None:
    error = error_in_answer(body)
    assert error is not None
    message, *others = facts
    default = "the server reported an error without a message"
    assert (error.message, [error.code, error.type]) == (message or default, others)
    failed = error_from_response(400, {}, json.dumps(body).encode())
    assert [failed.code, failed.type] == others
    assert message is None or failed.message == message


@pytest.mark.parametrize(
    "value",
    [
        *({"success": False}, {"status": "fail", "message": "m"}, {"status": "failed"}, []),
        *({"object": "error", "message": "m"}, {"status": "error"}, {"status": "error", "data": 1}),
        *({"success": False, "choices": [1]}, {"success": False, "data": {"choices": [1]}}),
        *({"success": False, "data": [1]}, {"success": False, "data": []}, {"success": True}),
        *({"success": False, "data": {"a": 1}}, {"message": "m"}, {"status": "failure"}),
        {"success": False, "data": {"a": 1}, "message": "m"},
        {"success": False, "data": [1], "message": "m"},
        {"data": {"error": {"message": "m"}, "choices": [1]}},
        [{"error": "a"}, {"error": "b"}],
    ],
)
def test_an_answer_is_an_error_if_it_has_one_and_no_results(value: Any) -> None:
    failures: list[Any] = [
        *({"success": False}, {"status": "fail", "message": "m"}),
        *({"object": "error", "message": "m"}, {"success": False, "data": []}),
        {"success": False, "data": {"a": 1}, "message": "m"},
    ]
    assert (error_in_answer(value) is not None) is (value in failures)


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (502, {}, b"", "the server answered 502 with no content type and an empty body"),
        (
            502,
            {"content-type": "text/html; charset=x"},
            b"<p>\n Bad  gateway",
            "the server answered 502 with text/html: <p> Bad gateway",
        ),
        (502, {}, b"x" * 300, "the server answered 502 with no content type: " + "x" * 200),
    ],
)
def test_an_answer_that_is_not_json_is_quoted(
    status: int, headers: dict[str, str], body: bytes, message: str
) -> None:
    assert error_from_response(status, headers, body).message == message


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"success": False, "error": "UNAUTHORIZED", "message": "m"}, 401),
        ({"status": "error", "code": "rate_limited", "message": "m"}, 429),
        ({"error": {"code": "rate_limited", "message": "m"}}, 400),
        ({"success": False, "message": "m"}, 400),
        ({"status": "sad", "code": "rate_limited", "message": "m"}, 400),
    ],
)
def test_the_code_of_an_envelope_goes_before_the_status(body: Any, status: int) -> None:
    error = error_from_response(400, {"x-request-id": "r"}, json.dumps(body).encode())
    assert (error.status, error.request_id) == (status, "r")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        *(({"retry-after": text}, None) for text in ("-1", "nan", "inf", "soon", "")),
        *(({"retry-after": text}, float(text)) for text in ("0", "0.5")),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0.0),
    ],
)
def test_a_wish_to_wait_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_seconds(headers, now=now) == seconds
    dated = {**headers, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert retry_after_seconds(dated) == seconds
