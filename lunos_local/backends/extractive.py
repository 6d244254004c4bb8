"""`local/extractive`: quotes the sentences of the prompt that answer best. It generates nothing.

Sentences are ranked by their words (BM25), and by meaning too if the embedding model is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from lunos_local.backends import conversation, limits, passages, tokens
from lunos_local.backends.answer import Answer, Choice, usage
from lunos_local.backends.base import Body
from lunos_local.backends.e5 import E5
from lunos_local.backends.schema_args import Generator, content_words
from lunos_local.backends.tool_rules import choose, make_call, named_in, overlap

_COMPLETION_MAX_TOKENS = 16
# the weight of the words; the scores of the meaning are close together
_WORDS_WEIGHT = 0.06
# a second sentence is quoted if its score is this near the best
_NEARLY = 0.012
_NEARLY_BY_WORDS = 0.2
# above the first similarity no common word is needed, above the second one is
_SURELY_NEAR, _PERHAPS_NEAR = 0.85, 0.82
_PLAINLY = 2
_LONGEST_INSTRUCTION = 60
# a tool result of at most this many tokens is quoted whole
_SHORT_RESULT = 40
# a prompt with fewer sentences beside the question isn't a text to answer from
_FEWEST_SENTENCES = 3

NO_TEXT = "I only quote from the text I am given, and this prompt has no text beside the question."
NO_ANSWER = "The text I was given does not answer this."


def bm25_is_installed() -> bool:
    """Return whether the package that ranks sentences by words is installed."""
    return importlib.util.find_spec("rank_bm25") is not None


class Extractive:
    """Quotes the sentences that answer best."""

    def __init__(self, e5: E5 | None) -> None:
        self._e5 = e5

    def chat(self, body: Body) -> Answer:
        """Answer a checked chat request."""
        question, sentences = passages.read_chat(body)
        asked = conversation.last_user_text(body["messages"])
        if tokens.count(asked) > _LONGEST_INSTRUCTION:
            asked = question  # the rest is text, not an instruction
        calls = [make_call(tool, asked, body["messages"]) for tool in self._tools(body, asked)]
        if calls:
            choice = Choice(finish_reason="tool_calls", tool_calls=calls)
        else:
            choice = Choice(text=self._reply(body, question, sentences))
        choice = limits.limit(choice, body)
        size = limits.size(choice)
        return Answer(
            id="chatcmpl-" + conversation.fingerprint(body),
            model=body["model"],
            choices=[choice],
            usage=usage(tokens.of_chat(body), size),
        )

    def quote(self, body: Body) -> str | None:
        """Return the quote that answers a chat request; None if there is nothing to quote.

        A question about a text that doesn't answer it gets `NO_ANSWER`.
        """
        question, sentences = passages.read_chat(body)
        text = self._reply(body, question, sentences)
        about_text = len(sentences) >= _FEWEST_SENTENCES and question.endswith("?")
        return None if text == NO_TEXT or (text == NO_ANSWER and not about_text) else text

    def quote_prompt(self, prompt: str) -> str | None:
        """Return the quote that answers a completion prompt; None if there is none."""
        text = self._quote(*passages.read_prompt(prompt))
        return None if text in (NO_TEXT, NO_ANSWER) else text

    def complete(self, body: Body) -> Answer:
        """Answer a checked completion request."""
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        choices = []
        for prompt in prompts:
            choice = Choice(text=self._quote(*passages.read_prompt(prompt)))
            choices.append(limits.limit(choice, body, _COMPLETION_MAX_TOKENS))
        return limits.completion(body, prompts, choices)

    def _tools(self, body: Body, asked: str) -> list[dict[str, Any]]:
        tools = choose(body)
        if (body.get("tool_choice") or "auto") != "auto":
            return tools
        return [tool for tool in tools if _plainly_asked(tool, asked)]

    def _reply(self, body: Body, question: str, sentences: list[str]) -> str:
        results = "\n".join(text for _, text in conversation.tool_results(body["messages"]))
        short = results and tokens.count(results) <= _SHORT_RESULT
        return results if short else self._quote(question, sentences)

    def _quote(self, question: str, sentences: list[str]) -> str:
        if not sentences:
            return NO_TEXT
        similarities = self._similarities(question, sentences)
        scores = _scores(question, sentences, similarities)
        ranked = sorted(range(len(sentences)), key=lambda i: -scores[i])
        best = ranked[0]
        if not _related(question, sentences[best], similarities[best] if similarities else 0.0):
            return NO_ANSWER
        chosen = [best]
        nearly = _NEARLY if similarities else _NEARLY_BY_WORDS * scores[best]
        if len(ranked) > 1 and scores[best] - scores[ranked[1]] <= nearly:
            chosen.append(ranked[1])
        chosen.sort()
        separator = " " if len(chosen) < 2 or chosen[1] == chosen[0] + 1 else " [...] "
        return separator.join(sentences[i] for i in chosen)

    def _similarities(self, question: str, sentences: list[str]) -> list[float]:
        if self._e5 is None:
            return []
        asked = self._e5.vectors([question], query=True)[0]
        return [
            sum(x * y for x, y in zip(asked, vector, strict=True))
            for vector in self._e5.vectors(sentences, query=False)
        ]


def _scores(question: str, sentences: list[str], similarities: list[float]) -> list[float]:
    by_words = _bm25(question, sentences)
    if not similarities:
        return by_words
    highest = max(by_words) or 1.0
    return [
        near + _WORDS_WEIGHT * score / highest
        for near, score in zip(similarities, by_words, strict=True)
    ]


def _related(question: str, sentence: str, near: float) -> bool:
    asked = set(_stems(question))
    shared = len(asked & set(_stems(sentence)))
    if shared >= 2 or (shared and shared * 2 >= len(asked)):
        return True
    return near >= _SURELY_NEAR or (bool(shared) and near >= _PERHAPS_NEAR)


def _plainly_asked(tool: dict[str, Any], question: str) -> bool:
    in_name = overlap({"name": tool["name"]}, question)
    asked_for = named_in(tool, question) or in_name or overlap(tool, question) >= _PLAINLY
    parameters = tool.get("parameters") or {}
    return bool(asked_for) and Generator(question, parameters).can_fill()


def _stems(text: str) -> list[str]:
    """Return content words without common endings, so that "retries" matches "retry"."""
    stems = []
    for word in content_words(text):
        for ending, replacement in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                word = word.removesuffix(ending) + replacement
                break
        stems.append(word.removesuffix("e"))
    return stems


def _bm25(question: str, sentences: Sequence[str]) -> list[float]:
    # it imports numpy, so that happens in the first call
    from rank_bm25 import BM25Plus  # type: ignore[import-untyped]  # it ships no types

    corpus = [_stems(sentence) or ["-"] for sentence in sentences]
    asked = list(dict.fromkeys(_stems(question)))
    scores = BM25Plus(corpus).get_scores(asked)
    # BM25+ adds a constant to every score
    floor = min(scores) if len(scores) else 0.0
    return [float(score) - float(floor) for score in scores]
