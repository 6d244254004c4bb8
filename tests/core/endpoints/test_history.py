"""Histories that no provider refuses: each call has its id, and its result right behind it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lunos_core.endpoints.chat.requests import NOT_RUN, pair_calls

Wire = dict[str, Any]
USER: Wire = {"role": "user", "content": "?"}
ANSWER: Wire = {"role": "assistant", "content": "a"}


def asked(*names: str) -> Wire:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": name, "type": "function", "function": function} for name in names]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call: str, content: Any = "r", **more: Any) -> Wire:
    return {"role": "tool", "tool_call_id": call, "content": content, **more}


def test_a_history_in_order_is_sent_as_it_is() -> None:
    for history in ([USER], [USER, asked("a", "b"), result("a"), result("b", name="f"), USER]):
        assert pair_calls(history) == history


def test_a_late_result_moves_up_behind_its_call() -> None:
    history = [USER, asked("a"), USER, result("a", "late", name="f"), USER]
    assert pair_calls(history) == [USER, asked("a"), result("a", "late", name="f"), USER, USER]


def test_a_call_without_a_result_was_not_run_unless_it_is_last() -> None:
    assert pair_calls([USER, asked("a", "b"), result("b"), USER]) == [
        *(USER, asked("a", "b"), result("a", NOT_RUN), result("b"), USER)
    ]
    assert pair_calls([USER, asked("a", "b"), result("b")])[2:] == [
        *(result("a", NOT_RUN), result("b"))
    ]
    assert pair_calls([USER, asked("a")]) == [USER, asked("a")]


def test_calls_with_one_id_or_none_get_ids_of_their_own_and_their_results_with_them() -> None:
    first = [asked("f", "f", ""), result("f", "1"), result("f", "2"), result("", "3")]
    second = [asked("f", "f_2", ""), result("f_2", "5"), result("f", "4"), result("", "6")]
    sent = pair_calls([USER, *first, *second])
    ids = [[call["id"] for call in item["tool_calls"]] for item in sent if "tool_calls" in item]
    assert ids == [["f", "f_2", "call"], ["f_3", "f_2_2", "call_2"]]
    results = [(item["tool_call_id"], item["content"]) for item in sent if item["role"] == "tool"]
    assert results == [*zip([*ids[0], *ids[1]], "123456", strict=True)]


def test_a_result_of_a_later_turn_is_not_taken_for_the_call_before() -> None:
    sent = pair_calls([asked("f"), USER, asked("f"), result("f", "2"), USER])
    assert [item["content"] for item in sent if item["role"] == "tool"] == [NOT_RUN, "2"]


def test_a_result_whose_call_was_trimmed_away_is_told_by_the_user() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
    told, shown, *_ = pair_calls([result("a", "42"), result("b", [part]), ANSWER, USER])
    assert told == {"role": "user", "content": "What the tool call a returned:\n42"}
    said = {"type": "text", "text": "What the tool call b returned:"}
    assert shown == {"role": "user", "content": [said, part]}
    assert pair_calls([USER, result("a")]) == [USER, result("a")], "no answer: the server's affair"


@given(
    st.lists(
        st.sampled_from([USER, ANSWER])
        | st.lists(st.sampled_from(["", "a", "a_2", "b"]), max_size=3).map(lambda ids: asked(*ids))
        | st.sampled_from(["", "a", "a_2", "b"]).map(result),
        min_size=1,
    )
)
def test_every_call_has_its_result_whatever_the_history(history: list[Wire]) -> None:
    before = repr(history)
    sent = pair_calls(history)
    assert repr(history) == before
    if not any(item["role"] == "assistant" for item in history):
        return
    waiting: list[str] = []
    seen: set[str] = set()
    for item in sent:
        if item["role"] == "tool":
            assert item["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting
        waiting = [call["id"] for call in item.get("tool_calls", ())]
        assert all(waiting)
        assert len({*waiting}) == len(waiting)
        assert seen.isdisjoint(waiting)
        seen.update(waiting)
    assert not waiting or sent[-1].get("tool_calls")
