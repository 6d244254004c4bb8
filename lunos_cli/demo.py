"""`lunos demo`: questions about a text, answered without an account, and what each app cost."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from itertools import cycle
from operator import mul
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, UsageLedger
from lunos_core.accounting.report import app_table
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


def _core(service: dict[str, Any]) -> Callable[[str], Any]:
    create = Lunos(**service, app_id="demo-core").chat.completions.create
    return lambda prompt: create(model=MODEL, messages=[{"role": "user", "content": prompt}]).text


def _langchain(service: dict[str, Any]) -> Callable[[str], Any]:
    from langchain_lunos import ChatLunos

    chat = ChatLunos(model=MODEL, app_id="demo-langchain", **service)
    return lambda prompt: chat.invoke(prompt).text


def _llama_index(service: dict[str, Any]) -> Callable[[str], Any]:
    from llama_index_lunos import Lunos as LunosLLM

    llm = LunosLLM(MODEL, app_id="demo-llama-index", **service)
    return lambda prompt: llm.complete(prompt).text


_ASKS = (
    ("core", "httpx", _core),
    ("langchain", "langchain_core", _langchain),
    ("llama-index", "llama_index", _llama_index),
)


@click.command()
@click.argument("question", required=False)
@click.option("--wide", is_flag=True, help="All columns of the table.")
def demo(question: str | None, wide: bool) -> None:
    """Answer questions without a key, with every framework.

    The core, LangChain and LlamaIndex answer in turn, from four passages.
    A gateway in this process answers, without a key and without the network.
    """
    here = [(name, make) for name, module, make in _ASKS if is_installed(module)]
    for name, module, _ in _ASKS:
        if not is_installed(module):
            output.note(f'without {name}: pip install "lunos-integrations[{name}]" shows it too')
    from lunos_local import LocalGateway

    with LocalGateway() as gateway, UsageLedger() as ledger:
        click.echo(f"The local gateway answers {MODEL} and {EMBEDDING} at {gateway.base_url}\n")
        service: dict[str, Any] = {"api_key": gateway.api_key, "base_url": gateway.base_url}
        with Lunos(**service, app_id="demo-embed") as lunos:
            vectors = lunos.embeddings.create(model=EMBEDDING, input=PASSAGES).vectors
            asks = cycle([(name, make(service)) for name, make in here])
            for text in QUESTIONS if question is None else (question,):
                name, ask = next(asks)
                click.echo(f"[{name}] {text}")
                (asked,) = lunos.embeddings.create(model=EMBEDDING, input=[text]).vectors
                scores = [sum(map(mul, asked, vector)) for vector in vectors]
                nearest = [PASSAGES[i] for i in sorted(nlargest(2, range(4), scores.__getitem__))]
                prompt = "\n".join(nearest) + f"\n\nQuestion: {text}"
                click.echo(f"  {ask(prompt)}\n")
        click.echo(ledger.table() if wide else app_table(ledger.rows(), output.width()))
