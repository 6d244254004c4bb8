"""Tools called in words (ReAct): where the prompt describes the form, and nowhere else."""

from __future__ import annotations

import json

from tests.local.wire import Wire

PROMPT = """You are designed to help with a variety of tasks.

## Tools
You have access to the following tools:
> Tool Name: get_time
Tool Description: get_time() -> str
The time of day.
Tool Args: {"properties": {}, "type": "object"}

> Tool Name: multiply
Tool Description: multiply(a: int, b: int) -> int
Multiply two integers.
Tool Args: {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, \
"required": ["a", "b"], "type": "object"}

Use this form:
Thought: …
Action: tool name (one of get_time, multiply)
Action Input: {"input": "hello"}
and you will get
Observation: tool response
"""


def said(wire: Wire, *messages: tuple[str, str]) -> str:
    sent = [{"role": role, "content": text} for role, text in messages]
    return str(wire.chat(messages=sent).json()["choices"][0]["message"]["content"])


def test_a_described_tool_is_called_in_words(wire: Wire) -> None:
    text = said(wire, ("system", PROMPT), ("user", "Multiply 128 and 46."))
    action, arguments = text.splitlines()[-2:]
    assert action == "Action: multiply"
    assert json.loads(arguments.removeprefix("Action Input: ")) == {"a": 128, "b": 46}


def test_after_an_observation_comes_the_answer(wire: Wire) -> None:
    step = "Thought: …\nAction: multiply\nAction Input: {}"
    text = said(
        wire,
        ("system", PROMPT),
        ("user", "Multiply 128 and 46."),
        ("assistant", step),
        ("user", "Observation: 5888"),
    )
    assert text.splitlines()[-1] == "Answer: 5888"


def test_another_prompt_is_answered_as_usual(wire: Wire) -> None:
    plain = PROMPT.replace("Action Input:", "Something else:")
    assert said(wire, ("system", plain), ("user", "Hi")).startswith("Scripted answer to:")
    no_tools = "Write Action: and Action Input: and Observation: lines."
    assert said(wire, ("system", no_tools), ("user", "Hi")).startswith("Scripted answer to:")
