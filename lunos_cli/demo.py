"""`lunos demo`: questions about a text, answered without an account, and what each app cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import click

from lunos_cli import output
from lunos_cli.usage import by_app
from lunos_core import Lunos, UsageLedger
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
_CORES = {"langchain": "langchain_core", "llama-index": "llama_index"}


@click.command()
@click.argument("question", required=False)
@click.option("--wide", is_flag=True, help="All columns of the table.")
def demo(question: str | None, wide: bool) -> None:
    """Answer questions without a key, with every framework.

    The core, LangChain and LlamaIndex answer in turn, from four passages.
    A gateway in this process answers, without a key and without the network.
    """
    here = [name for name, core in _CORES.items() if is_installed(core)]
    for name in _CORES.keys() - {*here}:
        output.note(f'without {name}: pip install "lunos-integrations[{name}]" shows it too')
    from lunos_local import LocalGateway

    with LocalGateway() as gateway, UsageLedger() as ledger:
        click.echo(f"The local gateway answers {MODEL} and {EMBEDDING} at {gateway.base_url}\n")
        with Lunos(gateway.api_key, base_url=gateway.base_url) as lunos:
            vectors = _embed(lunos, PASSAGES)
            asks = cycle(list(_asks(lunos, gateway, here)))
            for text in QUESTIONS if question is None else (question,):
                name, ask = next(asks)
                click.echo(f"[{name}] {text}")
                nearest = _nearest(_embed(lunos, [text])[0], vectors)
                click.echo(f"  {ask(f'{nearest}{chr(10) * 2}Question: {text}')}\n")
        click.echo(ledger.table()) if wide else by_app(ledger.rows())


def _asks(
    lunos: Lunos, gateway: Any, here: list[str]
) -> Iterator[tuple[str, Callable[[str], str]]]:
    create = lunos.chat.completions.create
    yield (
        "core",
        lambda prompt: (
            create(model=MODEL, messages=output.messages_of(None, prompt), app_id="demo-core").text
        ),
    )
    if "langchain" in here:
        from langchain_lunos import ChatLunos

        service = {"api_key": gateway.api_key, "base_url": gateway.base_url}
        chat = ChatLunos(model=MODEL, app_id="demo-langchain", **service)
        yield "LangChain", lambda prompt: str(chat.invoke(prompt).text)
    if "llama-index" in here:
        import llama_index_lunos

        service = {"api_key": gateway.api_key, "api_base": gateway.base_url}
        llm = llama_index_lunos.Lunos(MODEL, app_id="demo-llama-index", **service)
        yield "LlamaIndex", lambda prompt: llm.complete(prompt).text


def _embed(lunos: Lunos, texts: Sequence[str]) -> list[Any]:
    return list(lunos.embeddings.create(model=EMBEDDING, input=texts, app_id="demo-embed").vectors)


def _nearest(vector: Any, vectors: Sequence[Any]) -> str:
    scores = [sum(x * y for x, y in zip(vector, other, strict=True)) for other in vectors]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:2]
    return "\n".join(PASSAGES[i] for i in sorted(best))
