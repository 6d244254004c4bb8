"""Rewrites tool results as plain text for a small model."""

from __future__ import annotations

from lunos_local.backends import conversation
from lunos_local.backends.base import Body


def wants_speech(body: Body) -> bool:
    """Return whether a tool has just answered and the model may answer in text."""
    may_answer = body.get("tool_choice") in (None, "auto", "none")
    return may_answer and body["messages"][-1]["role"] == "tool"


def fold(body: Body) -> Body:
    """Return `body` with calls and their results as plain text, and without tools.

    With its tools, a model this small would repeat the same call forever; with the results as tool
    messages, it would repeat their markup.
    """
    messages: list[Body] = []
    for message in body["messages"]:
        text = conversation.text_of(message)
        if message["role"] == "tool":
            text = f"The result of the tool is: {text}"
            if messages and messages[-1]["role"] == "user":
                messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n{text}"}
            else:
                messages.append({"role": "user", "content": text})
        elif message.get("tool_calls"):
            if text:
                messages.append({"role": "assistant", "content": text})
        else:
            messages.append({**message, "content": text})
    messages[-1]["content"] += "\nRepeat the result of the tool."
    dropped = ("tools", "tool_choice", "parallel_tool_calls")
    return {
        **{name: value for name, value in body.items() if name not in dropped},
        "messages": messages,
    }
