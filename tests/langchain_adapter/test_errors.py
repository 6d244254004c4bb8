"""Failures: our class, LangChain's class, and what its own machinery makes of them."""

from __future__ import annotations

import pickle
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, SummarizationMiddleware
from langchain_core import exceptions as framework
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage

import langchain_lunos
import lunos_core
from langchain_lunos import (
    ChatLunos,
    LunosContextOverflowError,
    LunosEmbeddings,
    LunosError,
    LunosLLM,
    LunosTimeoutError,
)
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import (
    KEY,
    WAYS,
    Wire,
    answer,
    ask,
    chat,
    embeddings,
    llm,
    reply,
    stored,
)

# status -> our class, LangChain's class, whether another try may help
TABLE: dict[int, tuple[str, str, bool]] = {
    400: ("LunosBadRequestError", "ModelInvalidRequestError", False),
    401: ("LunosAuthenticationError", "ModelAuthenticationError", False),
    402: ("LunosPaymentError", "ModelError", False),
    403: ("LunosPermissionError", "ModelPermissionDeniedError", False),
    404: ("LunosNotFoundError", "ModelNotFoundError", False),
    408: ("LunosServerError", "ModelAPIError", True),
    409: ("LunosConflictError", "ModelAPIError", True),
    422: ("LunosBadRequestError", "ModelInvalidRequestError", False),
    429: ("LunosRateLimitError", "ModelRateLimitError", True),
    500: ("LunosServerError", "ModelAPIError", True),
    502: ("LunosServerError", "ModelAPIError", True),
    503: ("LunosServerError", "ModelAPIError", True),
}


def _framework(name: str) -> type[Exception]:
    """LangChain's class; older cores lack some."""
    kind: type[Exception] = getattr(framework, name, framework.LangChainException)
    return kind


def _check(error: LunosError, status: int) -> None:
    ours, theirs, retried = TABLE[status]
    assert type(error) is getattr(langchain_lunos, ours)
    assert isinstance(error, getattr(lunos_core, ours))
    assert isinstance(error, _framework(theirs))
    assert getattr(error, "is_retryable", retried) is retried
    assert error.status == status


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", TABLE)
async def test_a_status_is_an_error_of_both_trees(
    status: int, way: str, gateway: LocalGateway
) -> None:
    model = ChatLunos(
        model=f"lunos/error-{status}",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
        max_retries=0,
        app_id="made",
    )
    with pytest.raises(LunosError) as caught:
        await ask(model, way)
    _check(caught.value, status)
    assert caught.value.request_id
    assert (caught.value.app_id, caught.value.model) == ("made", f"lunos/error-{status}")
    assert caught.value.response is not None
    assert caught.value.response.status_code == status


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("status", TABLE)
async def test_the_other_classes_raise_the_same(
    status: int, is_async: bool, gateway: LocalGateway
) -> None:
    settings: Any = {
        "model": f"lunos/error-{status}",
        "api_key": gateway.api_key,
        "base_url": gateway.base_url,
        "max_retries": 0,
    }
    text, vectors = LunosLLM(**settings), LunosEmbeddings(**settings)
    with pytest.raises(LunosError) as first:
        await text.ainvoke("a") if is_async else text.invoke("a")
    with pytest.raises(LunosError) as second:
        await vectors.aembed_query("a") if is_async else vectors.embed_query("a")
    _check(first.value, status)
    _check(second.value, status)


@pytest.mark.parametrize("shape", stored("errors"), ids=lambda shape: shape["about"])
async def test_every_shape_of_an_error_is_read(shape: dict[str, Any]) -> None:
    def wire(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": shape.get("content_type", "application/json")}
        if "body" in shape:
            return httpx.Response(shape["status"], json=shape["body"])
        return httpx.Response(shape["status"], headers=headers, text=shape.get("text", ""))

    with pytest.raises(LunosError) as caught:
        await ask(chat(wire), "ainvoke")
    assert type(caught.value).__name__ == shape["expect"]["class"]
    assert type(caught.value).__module__ == "langchain_lunos.errors"


FAILURES: dict[str, tuple[Exception, str, str]] = {
    "refused": (httpx.ConnectError("refused"), "LunosConnectionError", "ModelConnectionError"),
    "dropped": (httpx.ReadError("reset"), "LunosConnectionError", "ModelConnectionError"),
    "too slow": (httpx.ReadTimeout("slow"), "LunosTimeoutError", "ModelTimeoutError"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAILURES)
async def test_no_answer_is_an_error_of_both_trees(name: str, way: str) -> None:
    failure, ours, theirs = FAILURES[name]
    with pytest.raises(LunosError) as caught:
        await ask(chat(Wire(failure)), way)
    assert type(caught.value) is getattr(langchain_lunos, ours)
    assert isinstance(caught.value, _framework(theirs))
    assert caught.value.is_retryable is True


@pytest.mark.parametrize("way", ["invoke", "astream", "v3"])
async def test_a_stalled_server_is_a_timeout(way: str, gateway: LocalGateway) -> None:
    model = ChatLunos(
        model="lunos/stall",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
        timeout=httpx.Timeout(30, read=0.2),
        max_retries=0,
    )
    with pytest.raises(LunosTimeoutError) as caught:
        await ask(model, way)
    assert way == "invoke" or caught.value.partial.text


@pytest.mark.parametrize("way", WAYS)
async def test_an_overflow_is_langchains_own(way: str, gateway: LocalGateway) -> None:
    model = ChatLunos(
        model="lunos/context-overflow", api_key=gateway.api_key, base_url=gateway.base_url
    )
    with pytest.raises(LunosContextOverflowError) as caught:
        await ask(model, way)
    assert isinstance(caught.value, framework.ContextOverflowError)


class Seen(BaseCallbackHandler):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.responses: list[Any] = []

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.errors.append(error)
        self.responses.append(kwargs.get("response"))


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_tracers_see_status_body_and_request_id(way: str) -> None:
    seen = Seen()
    body = {"error": {"message": f"bad key {KEY}", "code": "x"}}
    wire = Wire(reply(body, 400, x_request_id="r1"))
    with pytest.raises(LunosError):
        await ask(chat(wire), way, "Hello", config={"callbacks": [seen]})
    metadata = seen.responses[0].generations[0][0].message.response_metadata
    assert metadata["status_code"] == 400
    assert metadata["request_id"] == "r1"
    assert metadata["body"]["error"]["code"] == "x"
    assert KEY not in repr(metadata) + repr(seen.errors) + str(seen.errors[0])


def test_an_error_survives_pickling_without_the_key() -> None:
    wire = Wire(reply({"error": {"message": KEY}}, 429, retry_after="3"))
    with pytest.raises(LunosError) as caught:
        chat(wire, app_id="made").invoke("Hello")
    data = pickle.dumps(caught.value)
    assert KEY.encode() not in data
    copied = pickle.loads(data)
    assert type(copied) is type(caught.value)
    assert copied.facts() == caught.value.facts()
    assert (copied.retry_after, copied.app_id, str(copied)) == (3, "made", str(caught.value))


@pytest.mark.skipif(
    not hasattr(framework, "ModelError"), reason="langchain-core before 1.6.13 has no such tree"
)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("status", TABLE)
async def test_the_agents_retry_middleware_tries_again_where_that_helps(
    status: int, is_async: bool
) -> None:
    wire = Wire(reply({"error": {"message": "no"}}, status), reply(answer("Hi")))
    middleware = ModelRetryMiddleware(
        max_retries=1, initial_delay=0.0, backoff_factor=0.0, jitter=False, on_failure="error"
    )
    agent = create_agent(chat(wire), [], middleware=[middleware])
    asked: Any = {"messages": [HumanMessage("Hello")]}
    if TABLE[status][2]:
        state = await agent.ainvoke(asked) if is_async else agent.invoke(asked)
        assert state["messages"][-1].text == "Hi"
        assert len(wire.requests) == 2
    else:
        with pytest.raises(LunosError):
            await agent.ainvoke(asked) if is_async else agent.invoke(asked)
        assert len(wire.requests) == 1


def _summarizing(wire: Any, **more: Any) -> Any:
    model = chat(wire)
    return create_agent(
        model, [], middleware=[SummarizationMiddleware(model, keep=("messages", 1), **more)]
    )


def test_the_summarizer_trusts_the_tokens_that_the_gateway_reported() -> None:
    wire = Wire(reply(answer("A summary.")), reply(answer("Hi")))
    said = chat(Wire(reply(answer("long ago")))).invoke("Hello")
    said.usage_metadata = {"input_tokens": 9000, "output_tokens": 1, "total_tokens": 9001}
    history = [HumanMessage("Hello"), said, HumanMessage("And?")]
    state = _summarizing(wire, trigger=("tokens", 5000)).invoke({"messages": history})
    assert len(wire.requests) == 2
    assert "A summary." in str(state["messages"])


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_summarizer_recovers_from_an_overflow(is_async: bool) -> None:
    overflow = {"error": {"message": "This model's maximum context length is 8 tokens"}}
    wire = Wire(reply(overflow, 400), reply(answer("A summary.")), reply(answer("Hi")))
    history: list[Any] = []
    for i in range(12):
        history += [HumanMessage(f"{i} " + "why " * 400), AIMessage(f"{i} " + "so " * 400)]
    agent = _summarizing(wire, trigger=("messages", 5), trim_tokens_to_summarize=None)
    asked: Any = {"messages": [*history, HumanMessage("And?")]}
    state = await agent.ainvoke(asked) if is_async else agent.invoke(asked)
    assert state["messages"][-1].text == "Hi"
    first, second, _ = (len(request.content) for request in wire.requests)
    assert second < first


async def test_the_failing_call_is_not_made_twice_by_two_layers() -> None:
    for make in (chat, llm):
        wire = Wire(reply({"error": "down"}, 503, retry_after="0"))
        with pytest.raises(LunosError) as caught:
            make(wire, max_retries=2).invoke("Hello")
        assert len(wire.requests) == 3
        assert caught.value.attempts == 3
    wire = Wire(reply({"error": "down"}, 503, retry_after="0"))
    with pytest.raises(LunosError):
        await embeddings(wire, max_retries=1).aembed_query("a")
    assert len(wire.requests) == 2
