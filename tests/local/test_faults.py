"""Each misbehaving model does what its name says."""

from __future__ import annotations

import httpx
import pytest

from lunos_local.faults import FAULTS
from tests.local.wire import Wire, events, text_of

_SLOW_OR_CUT = ("slow", "stall", "cut-stream")


@pytest.mark.parametrize("status", [400, 402, 404, 408, 409, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_error_models_answer_their_status_with_an_error_object(
    wire: Wire, status: int, stream: bool
) -> None:
    response = wire.chat(model=f"lunos/error-{status}", stream=stream)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"code", "message", "param", "type"}
    assert ("retry-after" in response.headers) == (status == 429)
    assert response.headers["x-request-id"]


def test_the_other_error_shapes_each_have_a_status(wire: Wire) -> None:
    assert wire.chat(model="lunos/error-401").json() == {"error": "Invalid secret key"}
    assert set(wire.embed(model="lunos/error-403").json()) == {"message"}
    page = wire.complete(model="lunos/error-502")
    assert page.status_code == 502
    assert page.text.startswith("<html>")


@pytest.mark.parametrize("status", [429, 500])
def test_a_flaky_model_fails_once_for_each_body_and_then_answers(wire: Wire, status: int) -> None:
    model = f"lunos/flaky-{status}"
    answers = [wire.chat(text, model=model).status_code for text in ("a", "a", "a", "b", "b")]
    assert answers == [status, 200, 200, status, 200]
    wire.gateway.clear()
    assert wire.chat("a", model=model).status_code == status
    assert [wire.embed(model=model).status_code for _ in range(2)] == [status, 200]
    assert [wire.chat(model=model, stream=True).status_code for _ in range(2)] == [status, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_cut_stream_is_an_incomplete_body(wire: Wire, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        wire.chat(model="lunos/cut-stream", stream=stream)


def test_cut_stream_sends_something_first(wire: Wire) -> None:
    body = {
        "model": "lunos/cut-stream",
        "stream": True,
        "messages": [{"role": "user", "content": "a"}],
    }
    seen: list[str] = []
    with (
        wire.http.stream("POST", "/chat/completions", json=body) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        seen.extend(response.iter_text())
    assert len(events("".join(seen))) == 3


def test_stopped_stream_has_no_finish_reason_and_no_done(wire: Wire) -> None:
    response = wire.chat(model="lunos/stopped-stream", stream=True)
    assert "[DONE]" not in response.text
    chunks = events(response.text)
    assert chunks
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


def test_no_done_has_a_finish_reason_but_no_done(wire: Wire) -> None:
    response = wire.chat(model="lunos/no-done", stream=True)
    assert "[DONE]" not in response.text
    assert events(response.text)[-1]["choices"][0]["finish_reason"] == "stop"


def test_error_in_stream_comes_after_content(wire: Wire) -> None:
    chunks = wire.chunks(model="lunos/error-in-stream")
    assert text_of(chunks[:-1])
    assert chunks[-1]["error"]["code"] == "provider_error"


@pytest.mark.parametrize("stream", [False, True])
def test_stall_is_silent_until_the_client_leaves(wire: Wire, stream: bool) -> None:
    body = {
        "model": "lunos/stall",
        "stream": stream,
        "messages": [{"role": "user", "content": "a"}],
    }
    with pytest.raises(httpx.ReadTimeout):
        wire.http.post("/chat/completions", json=body, timeout=httpx.Timeout(30, read=0.3))
    assert wire.chat().status_code == 200


def test_slow_answers_eventually(wire: Wire) -> None:
    assert wire.embed(model="lunos/slow").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_malformed_answers_come_with_status_200(wire: Wire, stream: bool) -> None:
    assert wire.chat(model="lunos/html", stream=stream).text.startswith("<html>")
    assert wire.chat(model="lunos/empty", stream=stream).content == b""
    garbage = wire.chat(model="lunos/garbage", stream=stream)
    nonsense = events(garbage.text)[0] if stream else garbage.json()
    assert garbage.status_code == 200
    assert nonsense["choices"] == "no"
    failed = wire.chat(model="lunos/error-in-200", stream=stream)
    error = (events(failed.text)[0] if stream else failed.json())["error"]
    assert failed.status_code == 200
    assert error["code"] == "provider_error"


def test_short_embeddings_leave_the_last_text_out(wire: Wire) -> None:
    data = wire.embed(["a", "b", "c"], model="lunos/short-embeddings").json()["data"]
    assert sorted(entry["index"] for entry in data) == [0, 1]


def test_refusal_and_content_filter_have_their_finish_reasons(wire: Wire) -> None:
    message = wire.message(model="lunos/refusal")
    assert message["content"] is None
    assert message["refusal"]
    chunks = wire.chunks(model="lunos/refusal")
    assert any("refusal" in chunk["choices"][0]["delta"] for chunk in chunks)
    filtered = wire.chat(model="lunos/content-filter").json()["choices"][0]
    assert filtered["finish_reason"] == "content_filter"


def test_context_overflow_has_its_code(wire: Wire) -> None:
    response = wire.chat(model="lunos/context-overflow", stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in _SLOW_OR_CUT])
def test_every_fault_is_in_the_catalog_and_answers_every_endpoint(wire: Wire, name: str) -> None:
    model = f"lunos/{name}"
    assert model in wire.gateway.models
    for response in (
        wire.chat(model=model),
        wire.chat(model=model, stream=True),
        wire.complete(model=model),
        wire.complete(model=model, stream=True),
        wire.embed(model=model),
    ):
        assert response.headers["x-request-id"]
        assert "internal" not in response.text


def test_faults_are_listed_in_the_package_documentation() -> None:
    import lunos_local

    documented = lunos_local.__doc__ or ""
    for name in FAULTS:
        assert f"lunos/{name}`" in documented or f"`-{name.removeprefix('error-')}`" in documented
