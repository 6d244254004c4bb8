"""Estimates are fair to every script, and media count by kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunos_core.accounting.token_estimate import batches_by_tokens, cut_to_tokens, estimate_tokens

LONG = "A" * 2_000_000


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("the quick brown fox jumps " * 10, 50, 80),
        ("日本語の文章です。" * 10, 60, 120),
        ("한국어 문장입니다 " * 10, 50, 110),
        ("ภาษาไทยไม่มีช่องว่าง" * 10, 100, 210),
        ("", 0, 0),
        ("🙂" * 10, 5, 20),
    ],
)
def test_text_is_estimated_by_its_script(text: str, low: int, high: int) -> None:
    assert low <= estimate_tokens(text) <= high


@pytest.mark.parametrize(
    ("text", "tokens"), [("abcd", 1), ("abcde", 2), ("日", 1), ("日abc", 2), ("日本語 abcd", 5)]
)
def test_each_dense_character_is_a_token_beside_the_others(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": LONG}},
        {"type": "file", "base64": LONG, "mime_type": "application/pdf"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{LONG}"}},
        {"type": "input_audio", "input_audio": {"data": LONG, "format": "wav"}},
        {"type": "video_url", "video_url": {"url": LONG}},
        {"type": "file", "file": {"url": "https://x.test/a.pdf"}},
    ],
)
def test_media_count_by_kind_not_by_length(part: dict[str, Any]) -> None:
    assert 100 <= estimate_tokens([part]) <= 10_000


def test_parts_add_up() -> None:
    text = {"type": "text", "text": "abcdefgh"}
    image = {"type": "image", "base64": LONG}
    assert estimate_tokens([text, image, "abcd", None]) == 2 + 1000 + 1
    assert estimate_tokens(None) == 0


TEXT = st.text(st.sampled_from("ab \u65e5\U0001f642"), max_size=40)


@given(st.lists(TEXT, max_size=30), st.integers(1, 20), st.integers(1, 5))
def test_batches_are_as_full_as_they_may_be_and_lose_nothing(
    texts: list[str], tokens: int, most_texts: int
) -> None:
    batches = list(batches_by_tokens(texts, tokens, most_texts=most_texts))
    assert [text for batch in batches for text in batch] == texts
    for i, batch in enumerate(batches):
        size = sum(map(estimate_tokens, batch))
        assert 0 < len(batch) <= most_texts
        assert size <= tokens or len(batch) == 1
        if i:  # the batch before had no room for this one's first text
            before = batches[i - 1]
            more = sum(map(estimate_tokens, [*before, batch[0]]))
            assert len(before) == most_texts or more > tokens


@given(TEXT, st.integers(1, 20))
def test_a_text_is_cut_to_the_longest_beginning_that_fits(text: str, most: int) -> None:
    cut = cut_to_tokens(text, most)
    assert text.startswith(cut)
    assert estimate_tokens(cut) <= most
    assert cut == text or estimate_tokens(text[: len(cut) + 1]) > most
