"""The key is in no text that anyone may see."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from lunos_core import (
    Config,
    Lunos,
    LunosError,
    LunosStreamInterruptedError,
    Secret,
    chat_request,
    chat_stream_request,
    models_request,
)
from tests.core.wire_samples import HELLO, Wire, delta, raw, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

KEY = "sk-hush-0123456789"
SLASHED = "sk-hush/0123456789+ab"
SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")


def texts_of(error: BaseException) -> str:
    """Everything that a log, a tracer or a worker process would carry of an error."""
    parts = [str(error), repr(error), repr(vars(error)), repr(error.args)]
    parts.append("".join(traceback.format_exception(error)))
    parts.append(repr(pickle.dumps(error)))
    response = getattr(error, "response", None)
    if response is not None:
        parts += [response.text, repr(dict(response.headers)), repr(response)]
    return "\n".join(parts)


def test_settings_show_no_secret() -> None:
    config = Config(api_key=KEY, default_headers={"x-gateway-token": KEY})
    shown = [repr(config), str(config), f"{config}", repr(config.api_key), f"{config.api_key!s}"]
    shown += [repr(dataclasses.asdict(config)["api_key"]), repr(vars(Lunos(KEY)))]
    request = chat_request(HELLO, model="m", extra_headers={"authorization": f"Bearer {KEY}"})
    shown.append(repr(request))
    assert KEY not in "\n".join(shown)
    assert config.key == KEY


def test_a_secret_equals_its_like_and_travels_in_a_pickle() -> None:
    secret = Secret(KEY)
    assert secret == Secret(KEY)
    assert not [other for other in ("", "~" + KEY, 7) if secret in (other, Secret(str(other)))]
    assert secret != KEY
    assert hash(secret) == hash(Secret(KEY))
    assert pickle.loads(pickle.dumps(secret)).reveal() == KEY


ECHOES: list[Any] = [
    reply({"error": {"message": f"bad key {KEY}", "code": KEY, "param": KEY}}, 401),
    reply({"error": f"bad key {KEY}"}, 401),
    reply({"message": f"bad key {KEY}"}, 403),
    raw(f"<html>Authorization: Bearer {KEY}</html>".encode(), 502, content_type="text/html"),
    reply({"error": {"message": "no"}}, 400, x_echo=f"Bearer {KEY}", x_request_id=f"r-{KEY}"),
    raw(f"<html>{KEY}</html>".encode(), content_type="text/html"),
    raw(f"garbage {KEY}".encode(), content_type="application/json", x_echo=KEY),
    reply({"choices": [], "echo": KEY}),
    reply({"error": {"message": f"bad key {KEY}", "code": KEY}}),
    reply({"choices": [{"message": {}, "finish_reason": "error", "error": {"message": KEY}}]}),
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_key_that_the_server_echoes_is_taken_out_of_the_error(
    both: Both, caplog: pytest.LogCaptureFixture, echo: Any, request_: Any
) -> None:
    client = both.client(Wire(echo), api_key=KEY, max_retries=0)
    with caplog.at_level(logging.DEBUG), pytest.raises(LunosError) as caught:
        await (both.chunks(client, STREAM) if request_ is STREAM else both(client.send(SEND)))
    assert KEY not in texts_of(caught.value)
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "events",
    [
        [{"error": {"message": f"bad key {KEY}"}}],
        [f"garbage {KEY}"],
        [delta(None, "error", error={"message": KEY})],
        [{"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": KEY}}]}],
        [{"choices": f"no {KEY}"}],
    ],
)
async def test_a_key_that_a_stream_echoes_is_taken_out_of_the_error(
    both: Both, events: list[Any]
) -> None:
    with pytest.raises(LunosError) as caught:
        await both.chunks(both.client(Wire(stream(events)), api_key=KEY), STREAM)
    assert not isinstance(caught.value, LunosStreamInterruptedError)
    assert KEY not in texts_of(caught.value)


async def test_the_log_of_a_retry_describes_the_failure_without_the_key(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    failing = reply({"error": f"bad key {KEY}"}, 500, retry_after="0")
    with caplog.at_level(logging.DEBUG):
        await both(both.client(Wire(failing, reply(stored("chat"))), api_key=KEY).send(SEND))
    assert "attempt 1 failed" in caplog.text
    assert KEY not in caplog.text


# The same key, as servers, proxies and frameworks may spell it.
SPELLINGS = {
    "JSON": "".join(f"\\u{ord(character):04x}" for character in SLASHED),
    "JSON's slash": SLASHED.replace("/", "\\/"),
    "a URL": quote(SLASHED, safe=""),
    "HTML": "".join(f"&#{ord(character)};" for character in SLASHED),
    "base64": base64.b64encode(f"Bearer {SLASHED}".encode()).decode(),
    "basic auth": base64.b64encode(f":{SLASHED}".encode()).decode(),
    "hex": SLASHED.encode().hex().upper(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_no_spelling_of_the_key_leaves_with_an_error(
    both: Both, caplog: pytest.LogCaptureFixture, spelling: str, status: int, request_: Any
) -> None:
    spelled = SPELLINGS[spelling]
    body = b'{"error": {"message": "bad key: %b", "code": "%b"}, "echo": ["%b"]}'
    body %= (spelled.encode(),) * 3
    headers = {"x-request-id": spelled, "x-echo": spelled, "content-type": "application/json"}
    client = both.client(Wire(raw(body, status, **headers)), api_key=SLASHED, max_retries=0)
    with caplog.at_level(logging.DEBUG), pytest.raises(LunosError) as caught:
        await (both.chunks(client, STREAM) if request_ is STREAM else both(client.send(SEND)))
    error: Any = caught.value
    texts = [texts_of(error), repr(error.body), repr(error.headers), repr(error.request)]
    for text in (*texts, caplog.text):
        assert SLASHED not in text
        assert spelled not in text
    assert SLASHED not in repr(error.response.json())


async def test_an_answer_of_the_public_catalog_may_repeat_the_key_and_nobody_sees_it(
    both: Both,
) -> None:
    models = {"data": [{"id": f"a/{SLASHED}", "name": "\\".join(SLASHED), "owner": SLASHED}]}
    body = json.dumps(models).replace("/", "\\/").encode()
    client = both.client(Wire(raw(body)), api_key=SLASHED)
    shown = repr(await both(client.send(models_request())))
    assert SLASHED not in shown
    assert SLASHED[3:] not in shown


async def test_an_error_contains_its_request_and_response_without_secrets(both: Both) -> None:
    wire = Wire(reply({"error": {"message": "no", "code": "c"}}, 400, x_request_id="r-1"))
    client = both.client(wire, default_headers={"proxy-authorization": "hush"}, app_id="billing")
    with pytest.raises(LunosError) as caught:
        await both(client.send(SEND))
    error = caught.value
    assert (error.status_code, error.request_id) == (400, "r-1")
    assert error.body == {"error": {"message": "no", "code": "c"}}
    assert error.headers["x-request-id"] == "r-1"
    assert error.request is not None
    assert (error.request.method, error.request.url) == (
        "POST",
        "https://lunos.test/v1/chat/completions",
    )
    assert error.request.headers["x-app-id"] == "billing"
    assert "hush" not in repr(error.request.headers)
    assert "Bearer" not in repr(error.request.headers)
    again = pickle.loads(pickle.dumps(error))
    assert (again.body, again.request, again.headers) == (error.body, error.request, error.headers)


async def test_an_error_without_an_answer_has_no_status_and_no_body(both: Both) -> None:
    client = both.client(Wire(httpx.ConnectError("refused")), max_retries=0)
    with pytest.raises(LunosError) as caught:
        await both(client.send(SEND))
    assert (caught.value.status_code, caught.value.body, caught.value.headers) == (None, None, {})
    assert caught.value.request is not None


async def test_what_had_arrived_of_an_answer_does_not_show_the_key_either(both: Both) -> None:
    wire = Wire(stream([delta(f"your key is {KEY}")]))
    with pytest.raises(LunosStreamInterruptedError) as caught:
        await both.chunks(both.client(wire, api_key=KEY, max_retries=0), STREAM)
    assert caught.value.partial.text == "your key is **********"
    assert KEY not in texts_of(caught.value)
