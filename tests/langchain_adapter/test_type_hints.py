"""Type hints can be read at run time: LangChain does so with `typing.get_type_hints`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import langchain_lunos
from langchain_lunos import _bindings
from tests.langchain_adapter.wire import both_kinds, chat


def methods() -> Iterator[Any]:
    classes = {getattr(langchain_lunos, name) for name in langchain_lunos.__all__}
    classes |= {kind for kind in vars(_bindings).values() if inspect.isclass(kind)}
    for kind in sorted(filter(inspect.isclass, classes), key=lambda kind: kind.__name__):
        if not kind.__module__.startswith(("langchain_lunos", "lunos_core")):
            continue
        yield pytest.param(kind, id=kind.__name__)
        for owner in kind.__mro__:
            if not owner.__module__.startswith(("langchain_lunos", "lunos_core")):
                continue
            for name, member in [*vars(owner).items()]:  # pydantic adds to it when asked
                function = member.fget if isinstance(member, property) else member
                function = getattr(function, "__func__", function)
                if not name.startswith("__") and inspect.isfunction(function):
                    yield pytest.param(function, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize("owner", [*methods()])
def test_every_method_has_type_hints_that_resolve(owner: Any) -> None:
    typing.get_type_hints(owner)


def weather(city: str) -> str:
    """The weather in a city."""
    return city


def test_fallbacks_pass_tools_on_to_each_model() -> None:
    first, second = both_kinds(), both_kinds()
    llm = chat(first).with_fallbacks([chat(second)])
    bound: Any = llm.bind_tools([weather])
    assert bound.runnable.kwargs["tools"] == bound.fallbacks[0].kwargs["tools"]
    bound.invoke("Hello")
    assert first.bodies[0]["tools"][0]["function"]["name"] == "weather"


def test_an_agent_takes_a_model_with_fallbacks() -> None:
    agents = pytest.importorskip("langchain.agents")
    wire = both_kinds("Sunny.")
    agent = agents.create_agent(chat(wire).with_fallbacks([chat(both_kinds())]), [weather])
    assert agent.invoke({"messages": [("user", "Hi")]})["messages"][-1].text == "Sunny."
    assert wire.bodies[0]["tools"]
