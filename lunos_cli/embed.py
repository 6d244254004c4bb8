"""`lunos embed`: a file's lines as vectors."""

from __future__ import annotations

import contextlib
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError
from lunos_core.compatibility.advice import one_line

_BATCH = 256
_TARGET = click.Path(dir_okay=False, writable=True, allow_dash=True)


@click.command()
@click.argument("file")
@click.option("-m", "--model", default="openai/text-embedding-3-small", show_default=True)
@output.CLIENT
@click.option("-o", "--output", "target", type=_TARGET, default="-", help="By default stdout.")
def embed(file: str, model: str, lunos: Lunos, target: str) -> None:
    """Embed each line of a file, as JSON lines.

    Each line of the output has "text" and "embedding". "-" is stdin.
    """
    try:
        with click.open_file(file, encoding="utf-8") as lines:
            texts = [line.strip() for line in lines if line.strip()]
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} isn't text in UTF-8") from None
    if not texts:
        raise click.ClickException(f"{file} has no text to embed")
    if not Path(target).parent.is_dir():  # a request would be paid in vain
        raise click.ClickException(f"{target}: there is no such folder")
    total, tokens = Decimal(0), 0
    # the lines that a terminal or a pipe gets are progress enough
    shown = target != "-" and sys.stderr.isatty()
    bar: Any = contextlib.nullcontext()
    if shown:
        bar = click.progressbar(length=len(texts), show_pos=True, width=0, file=sys.stderr)
    with click.open_file(target, "w", encoding="utf-8", lazy=True) as out, bar:
        for i in range(0, len(texts), _BATCH):
            batch = texts[i : i + _BATCH]
            try:
                result = lunos.embeddings.create(model=model, input=batch)
            except LunosError as error:
                done = f"; {i} of {len(texts)} texts are done" if i else ""
                raise click.ClickException(one_line(error) + done) from None
            for text, vector in zip(batch, result.vectors, strict=True):
                line = {"text": text, "embedding": list(vector)}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            total += output.cost_of(result.usage, model, lunos) or 0
            tokens += result.usage.input_tokens if result.usage else 0
            if shown:
                bar.update(len(batch))
    output.note(f"{model}: {len(texts)} texts, {tokens} tokens, {output.usd(total)}")
