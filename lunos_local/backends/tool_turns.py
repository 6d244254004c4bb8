"""Tells a small model what its tools answered, in words it can follow."""

from __future__ import annotations

from lunos_local.backends import conversation
from lunos_local.backends.base import Body


def wants_speech(body: Body) -> bool:
    """Whether a tool has just answered and the model may now speak."""
    free = body.get("tool_choice") in (None, "auto", "none")
    return free and body["messages"][-1]["role"] == "tool"


def fold(body: Body) -> Body:
    """`body` with calls and their results told as plain text, and with no tools.

    Given its tools once more, a model this small calls the same one for ever; and given the
    results as tool messages, it repeats their markup.
    """
    told: list[Body] = []
    for message in body["messages"]:
        text = conversation.text_of(message)
        if message["role"] == "tool":
            text = f"The result of the tool is: {text}"
            if told and told[-1]["role"] == "user":
                told[-1] = {**told[-1], "content": f"{told[-1]['content']}\n{text}"}
            else:
                told.append({"role": "user", "content": text})
        elif message.get("tool_calls"):
            if text:
                told.append({"role": "assistant", "content": text})
        else:
            told.append({**message, "content": text})
    told[-1]["content"] += "\nRepeat the result of the tool."
    dropped = ("tools", "tool_choice", "parallel_tool_calls")
    return {
        **{name: value for name, value in body.items() if name not in dropped},
        "messages": told,
    }
