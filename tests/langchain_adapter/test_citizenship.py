"""What LangChain expects of a model beside answers: dumps, caches, limits, counts, factories."""

from __future__ import annotations

import asyncio
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.language_models import BaseLanguageModel
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter

import langchain_lunos
from langchain_lunos import ChatLunos, LunosEmbeddings, LunosError, LunosLLM
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import (
    KEY,
    SETTINGS,
    WAYS,
    Wire,
    answer,
    ask,
    beta,
    both_kinds,
    chat,
    embeddings,
    llm,
    reply,
)

TEXT = {"model": "m", "choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}]}
MODELS = pytest.mark.parametrize("kind", [ChatLunos, LunosLLM])
CLASSES = pytest.mark.parametrize("kind", [ChatLunos, LunosLLM, LunosEmbeddings])
MORE = {
    "app_id": "made",
    "timeout": 5.0,
    "max_retries": 1,
    "default_headers": {"x-proxy-token": "sk-hidden"},
}


def _load(dumped: Any, **more: Any) -> Any:
    with beta():
        return load(
            dumped,
            valid_namespaces=["langchain_lunos"],
            secrets_map={"LUNOS_API_KEY": KEY},
            **{"allowed_objects": "all", **more},
        )


@MODELS
def test_a_dump_names_the_key_and_loads_again(kind: type[Any]) -> None:
    made = kind(**SETTINGS, temperature=0.5, stop=["END"], model_kwargs={"a": 1}, app_id="made")
    text = dumps(made)
    assert KEY not in text
    assert '"LUNOS_API_KEY"' in text
    assert dumpd(made)["id"][:1] == ["langchain_lunos"]
    loaded = _load(dumpd(made))
    assert type(loaded) is kind
    assert dumps(loaded) == text
    assert loaded.client.config == made.client.config
    assert dumps(_load(dumpd(made), allowed_objects=[kind])) == text


@MODELS
def test_a_dump_is_not_loaded_without_permission(kind: type[Any]) -> None:
    text = dumps(kind(**SETTINGS))
    with beta(), pytest.raises(ValueError, match="langchain_lunos"):
        loads(text, allowed_objects="all", secrets_map={"LUNOS_API_KEY": KEY})


@CLASSES
def test_no_text_shows_the_key(kind: type[Any]) -> None:
    made = kind(**{**SETTINGS, **MORE})
    texts = [repr(made), str(made), dumps(made), repr(made.client.config), made.model_dump_json()]
    texts += [repr(made.model_dump()), repr(vars(made)), repr(made.client), repr(made.async_client)]
    for text in texts:
        assert KEY not in text
    for text in texts[:3]:
        assert "sk-hidden" not in text
    if isinstance(made, BaseLanguageModel):
        assert KEY not in repr(made._identifying_params)


@pytest.mark.parametrize("way", WAYS)
async def test_no_trace_shows_the_key(way: str) -> None:
    seen: list[str] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            seen.append(repr((args, kwargs)))

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            seen.append(repr((args, kwargs)))

    model = chat(both_kinds(), default_headers={"x-proxy-token": "sk-hidden"})
    await ask(model, way, "Hello", config={"callbacks": [Tracer()]})
    assert seen
    assert KEY not in "".join(seen)
    assert "sk-hidden" not in "".join(seen)


@CLASSES
def test_a_wrong_argument_does_not_show_the_key(kind: type[Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        kind(**{**SETTINGS, "max_retries": "many"})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy", "deep model_copy"])
@CLASSES
def test_copies_keep_every_setting(kind: type[Any], how: str) -> None:
    made = kind(**{**SETTINGS, **MORE})
    assert made.client
    assert made.async_client
    copies = {
        "pickle": lambda: pickle.loads(pickle.dumps(made)),
        "deepcopy": lambda: copy.deepcopy(made),
        "copy": lambda: copy.copy(made),
        "deep model_copy": lambda: made.model_copy(deep=True),
    }
    copied = copies[how]()
    assert copied.client.config == made.client.config
    assert copied.client.config.default_headers == MORE["default_headers"]
    assert copied.model_dump() == made.model_dump()


@pytest.mark.parametrize("make", [chat, llm, embeddings])
def test_a_client_of_the_users_is_shared_by_copies_and_refused_by_pickle(make: Any) -> None:
    made = make(both_kinds())
    for copied in (copy.deepcopy(made), copy.copy(made), made.model_copy(deep=True)):
        assert copied.http_client is made.http_client
    with pytest.raises(TypeError, match="http_client"):
        pickle.dumps(made)


@CLASSES
def test_settings_that_change_later_hold(kind: type[Any]) -> None:
    made = kind(**SETTINGS)
    first = made.client
    copied = made.model_copy(update={"max_retries": 5, "base_url": "https://other.test"})
    assert (copied.client.config.max_retries, made.client.config.max_retries) == (5, 0)
    assert copied.client.config.base_url == "https://other.test/v1"
    assert made.client is first
    made.timeout = 3
    assert made.client.config.timeout == 3


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("sync")
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("async")
        return True


@pytest.mark.parametrize("way", WAYS)
async def test_the_rate_limiter_is_asked_once_for_each_call(way: str) -> None:
    limiter = Limiter()
    await ask(chat(both_kinds(), rate_limiter=limiter), way)
    assert limiter.asked == ["async" if way.startswith("a") else "sync"]


async def test_an_llms_rate_limiter_is_asked_before_each_request() -> None:
    limiter = Limiter()
    value = {**TEXT, "choices": [{**TEXT["choices"][0], "index": i} for i in (0, 1)]}
    wire = Wire(reply(value), reply(value), reply(TEXT))
    model = llm(wire, rate_limiter=limiter, batch_size=2)
    assert model.generate(["a", "b", "c", "d", "e"]).generations[4][0].text == "Hi"
    assert limiter.asked == ["sync"] * 3
    await model.ainvoke("a")
    assert limiter.asked[3:] == ["async"]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_the_cache_answers_the_same_question_once(way: str) -> None:
    wire = both_kinds()
    cache = InMemoryCache()
    model = chat(wire, cache=cache)
    first = await ask(model, way)
    again = await ask(model, way)
    assert again.content == first.content
    assert len(wire.requests) == 1
    await ask(model, way, temperature=1)
    await ask(chat(wire, cache=cache, model="n"), way)
    await ask(chat(wire, cache=cache, app_id="other"), way)
    assert len(wire.requests) == 4
    assert KEY not in repr(cache._cache)


async def test_the_cache_serves_text_completions_too() -> None:
    wire = Wire(reply(TEXT))
    model = llm(wire, cache=InMemoryCache())
    assert [model.invoke("a"), await model.ainvoke("a")] == ["Hi", "Hi"]
    assert len(wire.requests) == 1
    assert KEY not in repr(model.cache._cache)


def test_tokens_are_counted_offline() -> None:
    model = chat(None)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert model.get_num_tokens("eight ch") == 2
    assert model.get_num_tokens("") == 0
    assert model.get_num_tokens_from_messages([HumanMessage("a" * 40)]) >= 10
    with_tool = model.get_num_tokens_from_messages([HumanMessage("a")], tools=[tool])
    assert with_tool > model.get_num_tokens_from_messages([HumanMessage("a")])
    counted = chat(None, custom_get_token_ids=lambda text: list(range(len(text))))
    assert counted.get_num_tokens("abc") == 3
    assert llm(None).get_num_tokens("eight ch") > 0


def test_langsmith_parameters_name_provider_and_model() -> None:
    model = chat(None, temperature=0.5, max_tokens=7, stop=["END"], app_id="made")
    result = dict(model._get_ls_params())
    assert result == {
        "ls_provider": "lunos",
        "ls_model_name": "m",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 7,
        "ls_stop": ["END"],
        "app_id": "made",
    }
    assert model._get_ls_params(model="other")["ls_model_name"] == "other"
    assert llm(None)._get_ls_params()["ls_model_type"] == "llm"
    message = chat(both_kinds()).invoke("Hello")
    assert message.response_metadata["model_provider"] == result["ls_provider"]
    assert model.metadata["lc_versions"]["lunos-integrations"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_usage_handler_adds_up_by_served_model(way: str) -> None:
    handler = UsageMetadataCallbackHandler()
    model = chat(both_kinds())
    for _ in range(2):
        await ask(model, way, "Hello", config={"callbacks": [handler]})
    for _ in range(500):  # an async v3 stream's callbacks run in a task of their own
        if handler.usage_metadata.get("served", {}).get("total_tokens") == 24:
            break
        await asyncio.sleep(0.01)
    assert handler.usage_metadata == {
        "served": {"input_tokens": 18, "output_tokens": 6, "total_tokens": 24}
    }


def test_register_makes_langchains_factories_know_lunos(gateway: LocalGateway) -> None:
    from langchain.chat_models import base, init_chat_model
    from langchain.embeddings import init_embeddings

    settings: Any = {"api_key": gateway.api_key, "base_url": gateway.base_url}
    base._BUILTIN_PROVIDERS.pop("lunos", None)
    with pytest.raises(ValueError, match="lunos"):
        init_chat_model("lunos:openai/gpt-4o", **settings)
    langchain_lunos.register()
    langchain_lunos.register()
    for name in ("lunos:openai/gpt-4o", "lunos:openai/gpt-4o:free"):
        made = init_chat_model(name, **settings, temperature=0.5)
        assert type(made) is ChatLunos
        assert made.model == name.removeprefix("lunos:")
    assert init_chat_model("gpt-4o", model_provider="lunos", **settings).model == "gpt-4o"
    chosen = init_chat_model(configurable_fields=("model", "model_provider"), **settings)
    configured = {"configurable": {"model": "lunos/scripted", "model_provider": "lunos"}}
    assert chosen.invoke("Hello", config=configured).content
    vectors = init_embeddings("lunos:lunos/scripted-embedding", **settings)
    assert type(vectors) is LunosEmbeddings
    assert vectors.embed_query("a")


def test_two_event_loops_one_after_the_other(gateway: LocalGateway) -> None:
    model = ChatLunos(
        model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0
    )

    async def once() -> list[str]:
        return [(await model.ainvoke("Hello")).text, (await ask(model, "astream")).text]

    assert asyncio.run(once()) == asyncio.run(once())


def test_threads_share_a_model(gateway: LocalGateway) -> None:
    model = ChatLunos(model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.invoke(f"Number '{i}'").text, range(24)))
    assert [f"'{i}'" in text for i, text in enumerate(answers)] == [True] * 24


async def test_with_retry_and_with_fallbacks_see_our_errors() -> None:
    wire = Wire(reply({"error": "down"}, 503), reply(answer("again")))
    retried = chat(wire).with_retry(
        retry_if_exception_type=(LunosError,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert (await retried.ainvoke("Hello")).content == "again"
    spare = chat(both_kinds("spare"))
    down = chat(Wire(reply({"error": "no money"}, 402)))
    safe = down.with_fallbacks([spare], exceptions_to_handle=(LunosError,))
    for way in ("invoke", "ainvoke", "stream", "astream"):
        assert (await ask(safe, way)).text == "spare"


@CLASSES
def test_no_constructor_touches_the_network(kind: type[Any]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"a request to {request.url}")

    transport = httpx.MockTransport(refuse)
    kind(**SETTINGS, http_client=httpx.Client(transport=transport))
