"""Questions about a text, answered without an account by the core and by each framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import cycle
from operator import mul
from typing import Any

from lunos_core import Lunos
from lunos_core.lazy import is_installed

MODEL, EMBEDDING = "openai/gpt-4o-mini", "openai/text-embedding-3-small"
PASSAGES = (
    "Every request may carry the X-App-ID header, which names the application that pays.",
    "A failed request is retried twice. The wait grows with each retry, at most eight seconds.",
    "A stream that stops before its end raises LunosStreamInterruptedError. It keeps the partial "
    "answer.",
    "The catalog lists every model with its price. It needs no key.",
)
QUESTIONS = (
    "Which header names the application that pays?",
    "How often is a failed request retried?",
    "Which error does a stream raise that stops before its end?",
)
FRAMEWORKS = {"langchain": "langchain_core", "llama-index": "llama_index"}
"""The package of each framework, by the name of its extra."""


def answers(
    service: dict[str, Any], questions: Iterable[str] = QUESTIONS
) -> Iterator[tuple[str, str, str]]:
    """Answer from the two nearest passages, with each framework in turn.

    Args:
        service: `api_key` and `base_url` of a local gateway.
        questions: the questions.

    Yields:
        Who answers ("core", "LangChain", "LlamaIndex"), the question, and the answer.

    Example:
        >>> from lunos_local import LocalGateway
        >>> from lunos_local.demo import answers
        >>> with LocalGateway() as local:
        ...     service = {"api_key": local.api_key, "base_url": local.base_url}
        ...     (answer,) = answers(service, ["Which header names the application that pays?"])
        >>> answer[0], "X-App-ID" in answer[2]
        ('core', True)
    """
    with Lunos(**service, app_id="demo-embed") as lunos:
        vectors = lunos.embeddings.create(model=EMBEDDING, input=PASSAGES).vectors
        for text, (name, ask) in zip(questions, cycle(list(_asks(service))), strict=False):
            (asked,) = lunos.embeddings.create(model=EMBEDDING, input=[text]).vectors
            scores = [sum(map(mul, asked, vector)) for vector in vectors]
            nearest = sorted(nlargest(2, range(len(PASSAGES)), scores.__getitem__))
            passages = "\n".join(PASSAGES[i] for i in nearest)
            yield name, text, ask(f"{passages}\n\nQuestion: {text}")


def _asks(service: dict[str, Any]) -> Iterator[tuple[str, Callable[[str], str]]]:
    def core(prompt: str) -> str:
        with Lunos(**service, app_id="demo-core") as lunos:
            messages: Any = [{"role": "user", "content": prompt}]
            return lunos.chat.completions.create(model=MODEL, messages=messages).text

    yield "core", core
    if is_installed(FRAMEWORKS["langchain"]):
        from langchain_lunos import ChatLunos

        chat = ChatLunos(model=MODEL, app_id="demo-langchain", **service)
        yield "LangChain", lambda prompt: str(chat.invoke(prompt).text)
    if is_installed(FRAMEWORKS["llama-index"]):
        from llama_index_lunos import Lunos as LunosLLM

        llm = LunosLLM(MODEL, app_id="demo-llama-index", **service)
        yield "LlamaIndex", lambda prompt: llm.complete(prompt).text
