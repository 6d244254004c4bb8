"""Splits a prompt into the question and the sentences that may answer it."""

from __future__ import annotations

import re

from lunos_local.backends import conversation
from lunos_local.backends.base import Body

_MARKED = re.compile(
    r"(?:^|\n)\W{0,3}(?:question|query|user question)\W{0,3}:\s*(.+)", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]`*]*(\s+)(?=[\"'(\[`*]*[^\W_a-z])")
_BLOCK_START = re.compile(r"\s*(?:[-*+] |\d+[.)] |#{1,6} |\||>|```)")
_ENUMERATION = re.compile(r"\s*(?:[-*+] |\d+[.)] |#{1,6} |> )")
_HEADING = re.compile(r"\s*#{1,6} ")
_TABLE_RULE = re.compile(r"\|[\s:-]+\|")
# a code fence, or a line that separates the prompt from its passages
_FENCE = re.compile(r"^[ \t]*(?:```.*|[-=_*]{3,}[ \t]*)$", re.MULTILINE)
# instructions to the model aren't facts to quote
_INSTRUCTION = re.compile(
    r"\W*(?:answer|use|you are|you're|you must|you should|your task|respond|reply|do not|don't|"
    r"never|always|please|if you|if the|only use|only answer|keep|be concise|think|given the|"
    r"based on|below|context information|here (?:is|are)|the following|treat|cite|quote|say)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\W*[\w /-]{1,40}:\W*")
_ANSWER_LABEL = re.compile(r"\n\W{0,9}answer\W{0,9}$", re.IGNORECASE)
_FEWEST_WORDS = 3
_WORD = re.compile(r"\w+")
# of longer prompts only the end is read, as the work grows with the text
_MAX_TEXT = 400_000
_MAX_CANDIDATES = 5_000


def _cut_block(block: str) -> list[str]:
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(block):
        sentences.append(block[start : end.start(1)])
        start = end.end()
    return [*sentences, block[start:]]


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, joining wrapped lines; each list item or table row is one."""
    sentences: list[str] = []
    for paragraph in re.split(r"\n\s*\n", _FENCE.sub("", text)):
        block = ""
        for line in paragraph.splitlines():
            if _BLOCK_START.match(line) and block:
                sentences += _cut_block(block)
                block = ""
            block = f"{block} {line.strip()}" if block else line.strip()
            # a label isn't part of the text that it introduces
            if _HEADING.match(line) or line.rstrip().endswith(":"):
                sentences.append(block)
                block = ""
        if block:
            sentences += _cut_block(block)
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def find_question(text: str) -> tuple[str, str]:
    """Return (the question in `text`, the text without it)."""
    text = text[-_MAX_TEXT:]
    marked = list(_MARKED.finditer(text))
    if marked:
        last = marked[-1]
        return last[1].strip(), text[: last.start()] + "\n\n" + text[last.end() :]
    sentences = split_sentences(text)
    asked = [sentence for sentence in sentences if sentence.rstrip("\"')*`").endswith("?")]
    if asked:
        question = asked[-1]
        start = text.rfind(question)
        if start >= 0:
            return question, text[:start] + "\n\n" + text[start + len(question) :]
        return question, text
    before, _, last_line = text.strip().rpartition("\n")
    return last_line.strip(), before


def read_chat(body: Body) -> tuple[str, list[str]]:
    """Return (question, candidate sentences) of a chat request."""
    messages = body["messages"]
    results = conversation.tool_results(messages)
    last_user = max(
        (i for i, message in enumerate(messages) if message["role"] == "user"), default=None
    )
    question, rest = "", []
    for i, message in enumerate(messages):
        text = conversation.text_of(message)
        if i == last_user:
            question, text = find_question(text)
        if message["role"] in ("system", "developer", "user"):
            rest.append(text)
    if results:
        # the tool was called for this question, so its result is the source
        rest = [text for _, text in results]
    return question, candidates("\n\n".join(rest), question, keep_all=bool(results))


def read_prompt(prompt: str) -> tuple[str, list[str]]:
    """Return (question, candidate sentences) of a completion prompt."""
    question, rest = find_question(_ANSWER_LABEL.sub("", prompt))
    return question, candidates(rest, question)


def candidates(text: str, question: str, *, keep_all: bool = False) -> list[str]:
    """Return the sentences of `text` that may answer something, each once, in order."""
    sentences = split_sentences(text[-_MAX_TEXT:])[-_MAX_CANDIDATES:]
    if not keep_all:
        sentences = [sentence for sentence in sentences if _is_statement(sentence, question)]
    return list(dict.fromkeys(map(_plain, sentences)))


def _plain(sentence: str) -> str:
    sentence = _ENUMERATION.sub("", sentence, count=1)
    return sentence.replace("**", "").strip().strip("|").strip()


def _is_statement(sentence: str, question: str) -> bool:
    words = sum(1 for _ in _WORD.finditer(sentence))
    return (
        words >= _FEWEST_WORDS
        and sentence != question
        and not sentence.endswith("?")
        and not _INSTRUCTION.match(sentence)
        and not _LABEL.fullmatch(sentence)
        and not _HEADING.match(sentence)
        and not _TABLE_RULE.match(sentence)
    )
