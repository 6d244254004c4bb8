"""`lunos embed`: a file's lines as vectors."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TextIO

import click

from lunos_cli import output

_BATCH = 256
_TARGET = click.File("w", encoding="utf-8", lazy=True)


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("-m", "--model", default="openai/text-embedding-3-small", show_default=True)
@output.APP_ID
@click.option("-o", "--output", "target", type=_TARGET, default="-", help="By default stdout.")
def embed(file: TextIO, model: str, app_id: str | None, target: TextIO) -> None:
    """Embed each line of a file, as JSON lines.

    Each line of the output has "text" and "embedding". "-" is stdin.
    """
    texts = [line.strip() for line in file if line.strip()]
    if not texts:
        raise click.ClickException(f"{file.name} has no text to embed")
    total, tokens = Decimal(0), 0
    with output.client(app_id, needs_key=True) as lunos:
        for i in range(0, len(texts), _BATCH):
            batch = texts[i : i + _BATCH]
            result = lunos.embeddings.create(model=model, input=batch)
            for text, vector in zip(batch, result.vectors, strict=True):
                line = {"text": text, "embedding": list(vector)}
                target.write(json.dumps(line, ensure_ascii=False) + "\n")
            total += output.cost_of(result.usage, model, lunos) or 0
            tokens += result.usage.input_tokens if result.usage else 0
    output.note(f"{model}: {len(texts)} texts, {tokens} tokens, {output.usd(total)}")
