"""`lunos demo`: questions about a text, answered without an account, and what each app cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import click

from lunos_cli import output
from lunos_cli.usage import by_app
from lunos_core import Lunos, UsageLedger
from lunos_core.lazy import is_installed

MODEL = "openai/gpt-4o-mini"
EMBEDDING = "openai/text-embedding-3-small"
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
Ask = Callable[[str], str]


@click.command()
@click.argument("question", required=False)
@click.option("--wide", is_flag=True, help="All columns of the table.")
def demo(question: str | None, wide: bool) -> None:
    """Answer questions about four passages: the core, LangChain and LlamaIndex in turn.

    A gateway in this process answers, without a key and without the network.
    """
    if not is_installed("starlette") or not is_installed("uvicorn"):
        raise click.ClickException(
            'the demo needs the local gateway: pip install "lunos-integrations[demo]"'
        )
    missing = [name for name in ("langchain", "llama-index") if not _is_here(name)]
    for name in missing:
        output.note(f'without {name}: pip install "lunos-integrations[{name}]" shows it too')
    from lunos_local import LocalGateway

    with LocalGateway() as gateway, UsageLedger() as ledger:
        click.echo(f"The local gateway answers {MODEL} and {EMBEDDING} at {gateway.base_url}\n")
        with Lunos(gateway.api_key, base_url=gateway.base_url) as lunos:
            vectors = _embed(lunos, PASSAGES)
            asks = _asks(lunos, gateway, missing)
            for (name, ask), text in zip(
                asks if question is None else repeat(asks[0], 1),
                QUESTIONS if question is None else (question,),
                strict=False,
            ):
                nearest = _nearest(_embed(lunos, [text])[0], vectors)
                click.echo(f"[{name}] {text}")
                click.echo(f"  {ask(f'{nearest}{chr(10) * 2}Question: {text}')}\n")
        rows = ledger.rows()
    if wide:
        click.echo(ledger.table())
    else:
        by_app(rows)


def _is_here(name: str) -> bool:
    core = {"langchain": "langchain_core", "llama-index": "llama_index.core"}[name]
    try:
        return is_installed(core)
    except ModuleNotFoundError:  # the parent of a dotted name
        return False


def _asks(lunos: Lunos, gateway: Any, missing: Sequence[str]) -> list[tuple[str, Ask]]:
    def core(prompt: str) -> str:
        messages = [{"role": "user", "content": prompt}]
        create = lunos.chat.completions.create
        return create(model=MODEL, messages=messages, app_id="demo-core").text

    asks: list[tuple[str, Ask]] = [("core", core)]
    if "langchain" not in missing:
        from langchain_lunos import ChatLunos

        chat = ChatLunos(
            model=MODEL, app_id="demo-langchain", api_key=gateway.api_key, base_url=gateway.base_url
        )
        asks.append(("LangChain", lambda prompt: str(chat.invoke(prompt).text)))
    if "llama-index" not in missing:
        from llama_index_lunos import Lunos as LlamaIndexLunos

        llm = LlamaIndexLunos(
            MODEL, app_id="demo-llama-index", api_key=gateway.api_key, api_base=gateway.base_url
        )
        asks.append(("LlamaIndex", lambda prompt: llm.complete(prompt).text))
    return asks + [asks[0]] * (len(QUESTIONS) - len(asks))


def _embed(lunos: Lunos, texts: Sequence[str]) -> list[Any]:
    result = lunos.embeddings.create(model=EMBEDDING, input=list(texts), app_id="demo-embed")
    return list(result.vectors)


def _nearest(vector: Any, vectors: Sequence[Any]) -> str:
    scores = [sum(x * y for x, y in zip(vector, other, strict=True)) for other in vectors]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:2]
    return "\n".join(PASSAGES[i] for i in sorted(best))
