"""Defaults, bounds, copies and costs of the LangChain classes, by their values."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.load.serializable import Serializable
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tracers import LangChainTracer
from pydantic import SecretStr

from langchain_lunos import (
    ChatLunos,
    LunosEmbeddings,
    LunosImageGeneration,
    LunosLLM,
    _settings,
    langsmith_costs,
    register,
    registration,
)
from langchain_lunos.images import ImageEdit, ImagePrompt
from langchain_lunos.tracing import CostTracer, with_costs
from lunos_core import Catalog, Client, Config, LunosConfigError
from tests.langchain_adapter.wire import (
    KEY,
    SETTINGS,
    Wire,
    both_kinds,
    chat,
    clients,
    embeddings,
    llm,
    raw,
    reply,
)

CLASSES = pytest.mark.parametrize("kind", [ChatLunos, LunosLLM, LunosEmbeddings])


def test_the_defaults_are_those_of_the_pages() -> None:
    made = embeddings(reply({}))
    assert (made.chunk_size, made.max_concurrency, made.show_progress_bar) == (256, 4, False)
    assert LunosLLM(model="m", api_key=KEY).batch_size == 20
    assert ChatLunos(model="m", api_key=KEY).timeout == 60
    assert LunosImageGeneration(model="m", api_key=KEY).edits is False


@pytest.mark.parametrize(
    ("make", "name"),
    [(embeddings, "chunk_size"), (embeddings, "max_concurrency"), (llm, "batch_size")],
)
def test_a_number_of_things_at_once_is_1_or_more(make: Any, name: str) -> None:
    assert getattr(make(reply({}), **{name: 1}), name) == 1
    with pytest.raises(ValueError, match=name):
        make(reply({}), **{name: 0})


@pytest.mark.parametrize("size", [1, 2, 3, None])
def test_a_calls_chunk_size_splits_the_texts(size: int | None) -> None:
    def vectors(request: Any) -> Any:
        texts = json.loads(request.content)["input"]
        items = [{"index": i, "embedding": [float(len(text))]} for i, text in enumerate(texts)]
        return reply({"data": items})()

    class Counting(Wire):
        def __call__(self, request: Any) -> Any:
            self.requests.append(request)
            return vectors(request)

    wire = Counting(reply({}))
    model = embeddings(wire, chunk_size=4, encoding_format="float", max_concurrency=1)
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    assert model.embed_documents(texts, chunk_size=size) == [[1.0], [2.0], [3.0], [4.0], [5.0]]
    seen = [len(body["input"]) for body in wire.bodies]
    assert seen == {1: [1, 1, 1, 1, 1], 2: [2, 2, 1], 3: [3, 2], None: [4, 1]}[size]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"chunk_size must be 1 or more, not {wrong}"):
            model.embed_documents(texts, chunk_size=wrong)
    odd: Any
    for odd in (True, 1.5, "2"):
        with pytest.raises(TypeError, match="chunk_size must be an int"):
            model.embed_documents(texts, chunk_size=odd)


@CLASSES
def test_a_copy_has_the_key_that_it_is_given_and_hides_it(kind: Any) -> None:
    first = kind(model="m", api_key=KEY)
    second = first.model_copy(update={"api_key": "sk-other-key"})
    assert second.api_key == SecretStr("sk-other-key")
    assert first.api_key == SecretStr(KEY)
    for text in (repr(second), str(second.model_dump())):
        assert "sk-other-key" not in text
    assert second._clients.config.known_key == "sk-other-key"
    assert first.model_copy()._clients is first._clients
    assert first.model_copy(update={"model": "n"})._clients is first._clients


@CLASSES
def test_a_key_set_later_is_used_and_hidden(kind: Any) -> None:
    made = kind(model="m", api_key=KEY)
    made.api_key = "sk-other-key"
    made.app_id = "shop"
    assert made._clients.config.known_key == "sk-other-key"
    assert "sk-other-key" not in repr(made)
    assert made._clients.config.app_id == "shop"
    with pytest.raises(ValueError, match="max_retries"):
        made.max_retries = -1
    assert made.max_retries >= 0
    assert made._clients.config.max_retries == made.max_retries


@CLASSES
def test_none_leaves_a_setting_at_its_default(kind: Any) -> None:
    made = kind(model="m", api_key=KEY, timeout=None, max_retries=None, transport=None)
    usual = kind(model="m", api_key=KEY)
    assert (made.timeout, made.max_retries) == (usual.timeout, usual.max_retries)
    assert kind(model="m", api_key=KEY, request_timeout=None).timeout == usual.timeout


@CLASSES
def test_the_environment_fills_what_is_not_given(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LunosConfigError, match="LUNOS_API_KEY"):
        kind(model="m")
    monkeypatch.setenv("LUNOS_API_KEY", "sk-of-environment")
    monkeypatch.setenv("LUNOS_BASE_URL", "https://env.test")
    monkeypatch.setenv("LUNOS_APP_ID", "env-app")
    made = kind(model="m")
    assert made._clients.config.known_key == "sk-of-environment"
    assert made._clients.config.base_url.startswith("https://env.test")
    assert made.app_id == "env-app"
    for name in ("base_url", "api_base"):
        own = kind(model="m", api_key=KEY, app_id="own", **{name: "https://own.test"})
        assert own._clients.config.base_url.startswith("https://own.test")
        assert (own._clients.config.known_key, own.app_id) == (KEY, "own")
    monkeypatch.setenv("LUNOS_APP_ID", "")
    assert kind(model="m").app_id is None


@CLASSES
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"request_timeout": 5}, 5),
        ({"request_timeout": 5, "timeout": None}, 5),
        ({"request_timeout": 5, "timeout": 7}, 7),
        ({"timeout": 7}, 7),
    ],
)
def test_the_timeout_has_two_names(kind: Any, given: dict[str, Any], seconds: float) -> None:
    """pydantic lost the second name in every class below the first."""
    made = kind(model="m", api_key=KEY, **given)
    assert (made.timeout, made._clients.config.timeout) == (seconds, seconds)


@CLASSES
def test_what_holds_connections_is_in_no_text(kind: Any) -> None:
    clients_of_ours = clients(Wire(reply({})))
    known = Catalog(Client(Config(api_key="k", base_url="https://lunos.test")))
    made = kind(model="m", api_key=KEY, catalog=known, **clients_of_ours)
    text = repr(made) + str(made.model_dump())
    assert "Catalog" not in text
    assert "Client" not in text


def test_model_kwargs_of_a_call_are_a_dict() -> None:
    for model in (chat(both_kinds()), embeddings(reply({}))):
        ask: Any = model.invoke if isinstance(model, BaseChatModel) else model.embed_query
        with pytest.raises(TypeError, match="model_kwargs must be a dict"):
            ask("a", model_kwargs=["x"])


def test_tokens_are_counted_by_text_calls_and_three_for_each_message() -> None:
    model = chat(both_kinds(), custom_get_token_ids=lambda text: [*range(len(text))])
    assert model.get_num_tokens_from_messages([]) == 0
    assert model.get_num_tokens_from_messages([HumanMessage("four")]) == 7
    assert model.get_num_tokens_from_messages([HumanMessage("four"), AIMessage("two")]) == 13
    call = {"name": "f", "args": {"a": 1}, "id": "c"}
    shown = str([("f", {"a": 1})])
    assert model.get_num_tokens_from_messages([AIMessage("", tool_calls=[call])]) == 3 + len(shown)
    parts = HumanMessage([{"type": "text", "text": "some words here"}])
    assert model.get_num_tokens_from_messages([parts]) > 3


def test_register_adds_both_classes_to_langchains_tables() -> None:
    from langchain.chat_models import base as chat_models
    from langchain.embeddings import base as embedding_models

    register()
    for module, name in ((chat_models, "ChatLunos"), (embedding_models, "LunosEmbeddings")):
        table: Any = module._BUILTIN_PROVIDERS
        assert table["lunos"][:2] == ("langchain_lunos", name)
        assert table["lunos"][2:] == table["openai"][2:]


def test_register_without_a_table_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain.embeddings import base as embedding_models

    monkeypatch.setattr(embedding_models, "_BUILTIN_PROVIDERS", None)
    with pytest.raises(RuntimeError, match="use LunosEmbeddings itself"):
        register()
    monkeypatch.setattr(embedding_models, "_BUILTIN_PROVIDERS", {})
    register()
    table: Any = embedding_models._BUILTIN_PROVIDERS
    assert table == {"lunos": ("langchain_lunos", "LunosEmbeddings")}
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(ImportError, match="pip install langchain"):
        register()


@pytest.mark.parametrize("edits", [False, True])
def test_an_image_tool_shows_the_arguments_that_it_has(edits: bool) -> None:
    class Own(ImagePrompt):
        """A schema of the user's."""

    draw = LunosImageGeneration(model="m", api_key=KEY, edits=edits)
    assert draw.args_schema is (ImageEdit if edits else ImagePrompt)
    own = LunosImageGeneration(model="m", api_key=KEY, edits=edits, args_schema=Own)
    assert own.args_schema is Own


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_image_tool_counts_and_links_its_images(count: int) -> None:
    data = [{"url": f"https://h/{i}.png"} for i in range(count)]
    wire = Wire(reply({"data": data}))
    settings: dict[str, Any] = {**SETTINGS, **clients(wire)}
    content = LunosImageGeneration(**settings).invoke({"prompt": "a cat"})
    links = ", ".join(item["url"] for item in data)
    said = "1 image was generated." if count == 1 else f"{count} images were generated."
    assert content == f"{said} See {links}"
    wrong = LunosImageGeneration(**settings).invoke({"prompt": " "})
    assert wrong == "Nothing was drawn: the prompt is empty."


COSTLY = {"model_provider": "lunos", "cost": 0.25}


def run_of(*metadata: dict[str, Any], **outputs: Any) -> dict[str, Any]:
    batch = [{"message": {"kwargs": {"response_metadata": facts}}} for facts in metadata]
    return {"outputs": {"generations": [batch], **outputs}, "extra": {"metadata": {"a": 1}}}


def test_the_costs_of_messages_are_added_up_beside_their_tokens() -> None:
    run = run_of(
        COSTLY, COSTLY, {"model_provider": "other", "cost": 9}, {"model_provider": "lunos"}
    )
    tokens = {"input_tokens": 3}
    run["extra"]["metadata"]["usage_metadata"] = tokens
    (sent,) = langsmith_costs([run])
    assert sent["extra"]["metadata"] == {"a": 1, "usage_metadata": {**tokens, "total_cost": 0.5}}


def test_a_text_models_cost_has_its_counts_beside_it() -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    counts = {"input_tokens": 2, "output_tokens": 1, "total_tokens": 3, "total_cost": 0.25}
    whole = {"outputs": {"llm_output": {"total_cost": 0.25, "token_usage": usage}}}
    info = {"cost": 0.25, "cost_source": "gateway", "token_usage": usage}
    streamed = {"outputs": {"generations": [[{"generation_info": info}]]}, "extra": None}
    for sent in langsmith_costs([whole, streamed]):
        assert sent["extra"] == {"metadata": {"usage_metadata": counts}}


@pytest.mark.parametrize(
    "outputs",
    [None, {}, {"generations": None}, {"generations": [[{}]]}, {"llm_output": {"total_cost": "x"}}],
)
def test_a_run_without_a_cost_stays_and_the_next_is_looked_at(outputs: Any) -> None:
    plain = {"outputs": outputs, "extra": {"metadata": {}}}
    first, second = langsmith_costs([plain, run_of(COSTLY)])
    assert first == {"outputs": outputs, "extra": {"metadata": {}}}
    assert second["extra"]["metadata"]["usage_metadata"]["total_cost"] == 0.25


def test_tracers_of_langchain_alone_are_exchanged() -> None:
    class Own(LangChainTracer):
        """A tracer of the user's."""

    theirs, own = LangChainTracer(client=object()), Own(client=object())  # type: ignore[arg-type]  # none is asked
    manager = with_costs([theirs, own])
    assert [type(handler) for handler in manager.handlers] == [CostTracer, Own]
    assert manager.handlers[0].run_map is theirs.run_map  # type: ignore[attr-defined]  # a tracer's


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_limiter_of_a_text_model_is_waited_for(is_async: bool) -> None:
    class Limiter:
        asked: list[bool]

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked.append(blocking)
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire(blocking=blocking)

    class Given(Limiter, BaseRateLimiter):
        pass

    text = {"choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    limiter = Given()
    limiter.asked = []
    event = raw(b'data: {"choices":[{"index":0,"text":"Hi"}]}\n\ndata: [DONE]\n\n')
    whole, streamed = (
        llm(Wire(reply(text)), rate_limiter=limiter),
        llm(Wire(event), rate_limiter=limiter),
    )
    if is_async:
        await whole.ainvoke("a")
        pieces = [piece async for piece in streamed.astream("a")]
        assert pieces[0] == "Hi"
    else:
        whole.invoke("a")
        assert next(iter(streamed.stream("a"))) == "Hi"
    assert limiter.asked == [True, True]


class Loaded(Serializable):
    """A class that `load` is to find."""


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_class_is_found_by_load_whenever_it_was_imported(
    asked_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader: Any = sys.modules["langchain_core.load.load"]
    path = ("langchain_lunos", "chat_models", "Loaded")
    cache: dict[str, Any] = {"all": set()} if asked_before else {}
    monkeypatch.setattr(registration, "SERIALIZABLE_MAPPING", {})
    monkeypatch.setattr(loader, "ALL_SERIALIZABLE_MAPPINGS", {})
    monkeypatch.setattr(loader, "_default_class_paths_cache", cache, raising=False)
    registration.make_loadable(*path[1:])
    assert (
        {path: path}
        == vars(registration)["SERIALIZABLE_MAPPING"]
        == loader.ALL_SERIALIZABLE_MAPPINGS
    )
    assert cache == ({"all": {path}} if asked_before else {})
    monkeypatch.setattr(registration, "SERIALIZABLE_MAPPING", {})
    # a version of LangChain that keeps neither
    monkeypatch.setattr(loader, "ALL_SERIALIZABLE_MAPPINGS", None)
    monkeypatch.setattr(loader, "_default_class_paths_cache", None, raising=False)
    registration.make_loadable(*path[1:])
    assert vars(registration)["SERIALIZABLE_MAPPING"] == {path: path}


def test_a_fork_has_locks_of_its_own_for_cached_properties() -> None:
    def locks() -> list[Any]:
        items = [item for kind in ChatLunos.__mro__ for item in vars(kind).values()]
        cached = [item for item in items if isinstance(item, functools.cached_property)]
        return [item.lock for item in cached if hasattr(item, "lock")]  # Python 3.11

    before = locks()
    _settings._after_fork()
    assert len(locks()) == len(before)
    assert not set(map(id, locks())) & set(map(id, before))
