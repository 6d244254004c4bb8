"""Takes a prompt apart: the question, and the sentences it may be answered from."""

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
# a code block's fence, or a line that parts the prompt from its passages
_FENCE = re.compile(r"^[ \t]*(?:```.*|[-=_*]{3,}[ \t]*)$", re.MULTILINE)
# what a prompt says to the model is not what it tells about the world
_INSTRUCTION = re.compile(
    r"\W*(?:answer|use|you are|you're|you must|you should|your task|respond|reply|do not|don't|"
    r"never|always|please|if you|if the|only use|only answer|keep|be concise|think|given the|"
    r"based on|below|context information|here (?:is|are)|the following|treat|cite|quote|say)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\W*[\w /-]{1,40}:\W*")
_FEWEST_WORDS = 3


def _cut_block(block: str) -> list[str]:
    found, start = [], 0
    for end in _SENTENCE_END.finditer(block):
        found.append(block[start : end.start(1)])
        start = end.end()
    return [*found, block[start:]]


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, wrapped lines joined; list items and table rows stand alone."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", _FENCE.sub("", text)):
        block = ""
        for line in paragraph.splitlines():
            if _BLOCK_START.match(line) and block:
                found += _cut_block(block)
                block = ""
            block = f"{block} {line.strip()}" if block else line.strip()
            if _HEADING.match(line):
                found.append(block)
                block = ""
        if block:
            found += _cut_block(block)
    return [sentence.strip() for sentence in found if sentence.strip()]


def find_question(text: str) -> tuple[str, str]:
    """(the question in `text`, the text without it)."""
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
    """(question, candidate sentences) of a chat request."""
    messages = body["messages"]
    results = conversation.tool_results(messages)
    last_user = max(
        (at for at, message in enumerate(messages) if message["role"] == "user"), default=None
    )
    question, rest = "", []
    for at, message in enumerate(messages):
        text = conversation.text_of(message)
        if at == last_user:
            question, text = find_question(text)
        if message["role"] in ("system", "developer", "user"):
            rest.append(text)
    if results:
        # the tool was asked for this very question, so its answer is the source
        rest = [text for _, text in results]
    return question, candidates("\n\n".join(rest), question, keep_all=bool(results))


def read_prompt(prompt: str) -> tuple[str, list[str]]:
    """(question, candidate sentences) of a completion prompt."""
    question, rest = find_question(re.sub(r"\n\W*answer\W*:?\s*$", "", prompt, flags=re.IGNORECASE))
    return question, candidates(rest, question)


def candidates(text: str, question: str, *, keep_all: bool = False) -> list[str]:
    """The sentences of `text` that may answer something, each once, in order."""
    found = split_sentences(text)
    if not keep_all:
        found = [sentence for sentence in found if _tells(sentence, question)]
    found = [_plain(sentence) for sentence in found]
    return list(dict.fromkeys(found))


def _plain(sentence: str) -> str:
    """`sentence` without the marks of its list, its table or its bold print."""
    sentence = _ENUMERATION.sub("", sentence, count=1)
    return sentence.replace("**", "").strip().strip("|").strip()


def _tells(sentence: str, question: str) -> bool:
    words = len(re.findall(r"\w+", sentence))
    return (
        words >= _FEWEST_WORDS
        and sentence != question
        and not sentence.endswith("?")
        and not _INSTRUCTION.match(sentence)
        and not _LABEL.fullmatch(sentence)
        and not _HEADING.match(sentence)
        and not _TABLE_RULE.match(sentence)
    )
