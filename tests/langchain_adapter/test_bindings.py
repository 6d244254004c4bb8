"""Bindings of a model that keep what was bound before, in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.load import dumpd, load
from langchain_core.runnables import ConfigurableField, RunnableBinding
from pydantic import BaseModel

from langchain_lunos import ChatLunos
from tests.langchain_adapter.wire import (
    SETTINGS,
    WAYS,
    Wire,
    answer,
    ask,
    beta,
    both_kinds,
    call,
    chat,
    reply,
)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class City(BaseModel):
    """A city."""

    name: str


def with_tools() -> Wire:
    return both_kinds('{"name": "Rome"}', tool_calls=[call("City", '{"name": "Rome"}')])


STEPS: dict[str, Callable[[Any], Any]] = {
    "app_id": lambda llm: llm.bind(app_id="bill"),
    "temperature": lambda llm: llm.bind(temperature=0.25),
    "stop": lambda llm: llm.bind(stop=["END"]),
    "tools": lambda llm: llm.bind_tools([weather]),
    "config": lambda llm: llm.with_config(tags=["mine"], configurable={"app_id": "bill"}),
    "retry": lambda llm: llm.with_retry(stop_after_attempt=1),
    "listeners": lambda llm: llm.with_listeners(on_end=lambda run: None),
    "types": lambda llm: llm.with_types(),
    "fields": lambda llm: llm.configurable_fields(seed=ConfigurableField(id="seed")),
    "alternatives": lambda llm: llm.configurable_alternatives(
        ConfigurableField(id="which"), other=chat(with_tools())
    ),
    "fallbacks": lambda llm: llm.with_fallbacks([chat(with_tools())]),
}
SENT = {"temperature": ("temperature", 0.25), "stop": ("stop", ["END"])}


def check_sent(wire: Wire, *steps: str) -> None:
    (request,) = wire.requests
    for step in steps:
        if step in ("app_id", "config"):
            assert request.headers.get("X-App-ID") == "bill"
        elif step == "tools":
            assert wire.bodies[0]["tools"][0]["function"]["name"] == "weather"
        elif step in SENT:
            name, value = SENT[step]
            assert wire.bodies[0][name] == value


# LangChain's fallbacks have no fields of the models' to configure
PAIRS = [pair for pair in itertools.permutations(STEPS, 2) if pair != ("fallbacks", "fields")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_what_is_bound_first_stays_bound_after_the_second(first: str, second: str) -> None:
    wire = with_tools()
    llm = STEPS[second](STEPS[first](chat(wire)))
    llm.invoke("Hello")
    check_sent(wire, first, second)


@pytest.mark.parametrize("step", sorted(STEPS.keys() - {"tools"}))
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_a_form_keeps_what_was_bound_before_it(step: str, method: Any) -> None:
    for way in ("invoke", "ainvoke"):
        wire = with_tools()
        runnable = STEPS[step](chat(wire)).with_structured_output(City, method=method)
        assert await ask(runnable, way) == City(name="Rome")
        check_sent(wire, step)
    wire = with_tools()
    runnable = STEPS[step](chat(wire)).with_structured_output(City, method=method)
    assert list(runnable.stream("Hello"))[-1] == City(name="Rome")
    check_sent(wire, step)


@pytest.mark.parametrize("step", sorted(STEPS.keys() - {"alternatives"}))
@pytest.mark.parametrize("is_async", [False, True])
async def test_agents_keep_it(step: str, is_async: bool) -> None:
    agents = pytest.importorskip("langchain.agents")
    wire = Wire(
        reply(answer(None, "tool_calls", tool_calls=[call("weather")])), reply(answer("Sunny."))
    )
    agent = agents.create_agent(STEPS[step](chat(wire)), [weather])
    turn = {"messages": [("user", "Weather in Rome?")]}
    result = await agent.ainvoke(turn) if is_async else agent.invoke(turn)
    assert result["messages"][-1].text == "Sunny."
    for request, body in zip(wire.requests, wire.bodies, strict=True):
        one_request = Wire(reply({}))
        one_request.requests = [request]
        assert body["tools"]
        check_sent(one_request, step)


def test_the_later_value_wins() -> None:
    wire = with_tools()
    llm = chat(wire).bind(temperature=1, tool_choice="none").bind_tools([weather], tool_choice=True)
    llm.bind(temperature=0).invoke("Hello")
    assert wire.bodies[0]["temperature"] == 0
    assert wire.bodies[0]["tool_choice"] == "required"


def test_configurable_fields_stay_configurable_after_tools() -> None:
    wire = with_tools()
    llm = chat(wire, temperature=0.5).configurable_fields(
        temperature=ConfigurableField(id="t"), model_name=ConfigurableField(id="m")
    )
    bound = llm.bind_tools([weather]).bind(app_id="bill")
    bound.invoke("Hello", {"configurable": {"t": 0.75, "m": "other"}})
    assert (wire.bodies[0]["temperature"], wire.bodies[0]["model"]) == (0.75, "other")
    assert wire.requests[0].headers["X-App-ID"] == "bill"
    assert wire.bodies[0]["tools"]
    form = llm.with_structured_output(City)
    form.invoke("Hello", {"configurable": {"t": 0.75}})
    assert wire.bodies[1]["temperature"] == 0.75


def test_a_configured_model_shares_the_connections_and_has_its_own_profile() -> None:
    model = chat(with_tools(), app_id="made")
    llm = model.configurable_fields(
        temperature=ConfigurableField(id="t"),
        model_name=ConfigurableField(id="m"),
        app_id=ConfigurableField(id="app"),
        max_retries=ConfigurableField(id="retries"),
    )
    prepared, _ = llm.prepare({"configurable": {"t": 0.5, "m": "other"}})
    assert prepared.client is model.client
    assert prepared.model == "other"
    prepared, _ = llm.prepare({"configurable": {"retries": 5}})
    assert prepared.client is not model.client


def test_the_tools_of_a_binding_are_where_frameworks_look_for_them() -> None:
    bound: Any = (
        chat(with_tools()).bind(app_id="bill").bind_tools([weather]).with_config(tags=["a"])
    )
    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs.keys() == {"app_id", "tools"}
    assert isinstance(bound.bound, ChatLunos)
    assert bound.model_name == "m"


def test_configs_are_merged() -> None:
    wire = with_tools()
    llm = chat(wire).with_config(configurable={"app_id": "bill"}, tags=["a"])
    llm = llm.with_config(configurable={"thread_id": "1"}, tags=["b"])
    llm.invoke("Hello")
    assert wire.requests[0].headers["X-App-ID"] == "bill"


def test_alternatives_of_other_providers_get_tools_their_own_way() -> None:
    seen: list[Any] = []

    class Foreign(ChatLunos):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            seen.append(tools)
            return self.bind(app_id="foreign")

    wire = with_tools()
    foreign = Foreign(**SETTINGS, http_client=httpx.Client(transport=httpx.MockTransport(wire)))
    which = ConfigurableField(id="which")
    llm = chat(with_tools()).configurable_alternatives(which, foreign=foreign, made=lambda: foreign)
    for name in ("foreign", "made"):
        llm.bind_tools([weather]).invoke("Hello", {"configurable": {"which": name}})
    assert seen[0] == [weather]
    assert [request.headers["X-App-ID"] for request in wire.requests] == ["foreign"] * 2


def test_a_binding_is_revived_as_what_it_was() -> None:
    bound = chat(with_tools(), http_client=None, http_async_client=None).bind(app_id="bill")
    with beta():
        revived: Any = load(
            dumpd(bound),
            allowed_objects="all",
            valid_namespaces=["langchain_lunos"],
            secrets_map={"LUNOS_API_KEY": "k"},
        )
    assert type(revived) is type(bound)
    assert revived.bind_tools([weather]).kwargs["app_id"] == "bill"


@pytest.mark.parametrize("choice", ["any", True, "weather", "required"])
async def test_tools_may_be_bound_or_given_as_they_are(choice: Any) -> None:
    wire = with_tools()
    llm = chat(wire)
    llm.bind(tools=[weather], tool_choice=choice).invoke("Hello")
    await llm.ainvoke("Hello", tools=[weather, {"type": "web_search"}], tool_choice=choice)
    list(llm.stream("Hello", tools=[weather], tool_choice=choice))
    named = {"type": "function", "function": {"name": "weather"}}
    for body in wire.bodies:
        assert body["tools"][0]["function"]["name"] == "weather"
        assert body["tool_choice"] == (named if choice == "weather" else "required")


def test_what_is_added_to_a_request_is_added_by_each_binding() -> None:
    wire = both_kinds()
    model = chat(wire, extra_body={"a": 1}).bind(extra_body={"b": 2}, extra_query={"q": "1"})
    model.bind(extra_body={"c": 3}, extra_query={"r": "2"}).invoke("Hello")
    assert wire.bodies[0].items() >= {"a": 1, "b": 2, "c": 3}.items()
    assert str(wire.requests[0].url).endswith("?q=1&r=2")


@pytest.mark.parametrize("way", WAYS)
async def test_a_calls_extra_body_replaces_the_bound_one_and_is_added_to_the_constructors(
    way: str,
) -> None:
    """As `RunnableBinding` does with each argument; LlamaIndex's adapter has no bindings."""
    wire = both_kinds("Hi")
    model = chat(wire, extra_body={"a": 1, "b": 1}).bind(extra_body={"b": 2, "c": 2})
    await ask(model, way, extra_body={"b": 3, "d": 3})
    (body,) = wire.bodies
    assert {name: body.get(name) for name in "abcd"} == {"a": 1, "b": 3, "c": None, "d": 3}
