"""What a reading by fresh eyes found; each is a case of its own."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException
from langchain_core.load import dumps
from pydantic import BaseModel

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
from tests.langchain_adapter.wire import Wire, answer, both_kinds, chat, embeddings, llm, reply

KINDS = {"chat": chat, "llm": llm, "embeddings": embeddings}
KEY = "sk-assigned-later"


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_set_later_shows_nowhere_and_is_used(kind: str) -> None:
    wire = Wire(reply(answer("Hi")))
    model = KINDS[kind](wire)
    copy = model.model_copy(update={"api_key": KEY})
    model.api_key = KEY
    for item in (model, copy):
        assert KEY not in repr(item) + str(item) + item.model_dump_json() + dumps(item)
        assert item.client.config.key == KEY


def test_a_setting_that_is_refused_is_not_kept() -> None:
    model = chat(Wire(reply(answer("Hi"))), app_id="before")
    with pytest.raises(ValueError, match="X-App-ID"):
        model.app_id = "two\nlines"
    assert model.app_id == "before"
    assert model.invoke("Hello").text == "Hi"


@pytest.mark.parametrize("name", ["api_key", "base_url", "max_retries", "default_headers"])
def test_model_kwargs_carry_no_setting_of_the_client(name: str) -> None:
    wire = Wire(reply(answer("Hi")))
    with pytest.raises(TypeError, match=name):
        chat(wire, model_kwargs={name: "sk-secret"}).invoke("Hello")
    assert not wire.requests


@pytest.mark.parametrize(
    "given",
    [{"model": "other"}, {"temperature": 0.5}, {"top_k": 3}, {"extra_body": {"a": 1}}],
    ids=str,
)
async def test_an_llms_cache_distinguishes_calls_by_their_parameters(given: dict[str, Any]) -> None:
    texts = iter(["first", "second"])

    def completion(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"choices": [{"text": next(texts), "index": 0}]})

    model = llm(completion, cache=InMemoryCache())
    assert model.invoke("Hello") == model.invoke("Hello") == "first"
    assert model.invoke("Hello", **given) == "second"
    assert await model.ainvoke("Hello", **given) == "second"
    assert model.invoke("Hello") == "first"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
async def test_a_stream_that_does_not_fit_the_schema_raises_like_a_whole_answer(
    method: str,
) -> None:
    text = '{"name": "Ada"}'
    call = {"id": "c", "type": "function", "function": {"name": "Person", "arguments": text}}
    message = {"tool_calls": [call]} if method == "function_calling" else {}
    wire = both_kinds(None if message else text, **message)
    model = chat(wire).with_structured_output(Person, method=method)
    for read in (lambda: model.invoke("x"), lambda: list(model.stream("x"))):
        with pytest.raises((OutputParserException, ValueError), match="age"):
            read()
    with pytest.raises((OutputParserException, ValueError), match="age"):
        [part async for part in model.astream("x")]


async def test_an_answer_without_the_forced_tool_is_explained() -> None:
    model = chat(both_kinds("I would rather talk.")).with_structured_output(Person)
    for read in (lambda: model.invoke("x"), lambda: list(model.stream("x"))):
        with pytest.raises(OutputParserException, match=r"called no tool.*rather talk"):
            read()
    raw = chat(both_kinds("No.")).with_structured_output(Person, include_raw=True).invoke("x")
    assert raw["parsed"] is None
    assert "called no tool" in str(raw["parsing_error"])


@pytest.mark.parametrize("cls", [ChatLunos, LunosLLM, LunosEmbeddings])
def test_a_wrong_kind_of_http_client_is_refused_at_once(cls: Any) -> None:
    with pytest.raises(TypeError, match=r"httpx\.Client is needed, not AsyncClient"):
        cls(model="m", api_key="k", http_client=httpx.AsyncClient())
    with httpx.Client() as http, pytest.raises(TypeError, match=r"httpx\.AsyncClient is needed"):
        cls(model="m", api_key="k", http_async_client=http)
    with pytest.raises(TypeError, match="not int"):
        cls(model="m", api_key="k", http_client=5)
