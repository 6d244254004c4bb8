"""The object in a model's text is found, whatever stands around it."""

from __future__ import annotations

import pytest

from lunos_core.endpoints.chat.json_text import json_objects, strip_thinking

OBJECT = '{"name": "a", "text": "} {"}'


def first_object(text: str) -> str | None:
    return next(json_objects(text), None)


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"See [1]: {OBJECT}",
        f"```json\n{OBJECT}\n```",
        f'<think>What about {{x}}, or {{"name": 1}}?</think>\n{OBJECT}',
        f"<thinking>a</thinking><think>b</think> {OBJECT} and {{}}",
        f'<reasoning>{{"name": 1}}</reasoning>{OBJECT}',
        f'[THINK]{{"name": 1}}[/THINK]{OBJECT}',
        f'◁think▷{{"name": 1}}◁/think▷ {OBJECT}',
        f'{{"name": 1}}[/THINK]{OBJECT}',
        f'The first tag is in the prompt: {{"a": 1}}</think>{OBJECT}',
        f"{{curly}} {OBJECT} trailing {{",
        f"Sure! {OBJECT} Is that right?",
    ],
)
def test_the_first_object_is_found(text: str) -> None:
    assert first_object(text) == OBJECT


@pytest.mark.parametrize("text", ["", "no object", "{", "[1, 2]", "{x}", '{"a": ', "{" * 5000])
def test_text_without_an_object_gives_none(text: str) -> None:
    assert first_object(text) is None


def test_a_closing_tag_inside_the_object_does_not_end_the_reasoning() -> None:
    assert first_object('{"html": "a</think>b"}') == '{"html": "a</think>b"}'


def test_every_object_is_a_candidate() -> None:
    assert list(json_objects('{"a": {"b": 1}} or {"c": 2}')) == ['{"a": {"b": 1}}', '{"c": 2}']


def test_an_object_inside_the_reasoning_counts_if_there_is_no_other() -> None:
    assert first_object('<think>{"a": 1}</think> Done.') == '{"a": 1}'
    assert first_object('<think>never closed {"a": 1}') == '{"a": 1}'


def test_thinking_is_removed_at_the_beginning_alone() -> None:
    assert strip_thinking(" <think>a</think>b<think>c</think>") == "b<think>c</think>"
