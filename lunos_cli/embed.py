"""`lunos embed`: a file's lines as vectors."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from decimal import Decimal
from typing import Any, TextIO

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError
from lunos_core.compatibility.advice import one_line

_BATCH = 256
_TARGET = click.Path(dir_okay=False, writable=True, allow_dash=True)


@click.command()
@click.argument("file", type=click.File(encoding="utf-8-sig", lazy=True))
@click.option("-m", "--model", default="openai/text-embedding-3-small")
@output.CLIENT
@click.option("-o", "--output", "target", type=_TARGET, default="-", help="A file; - is stdout.")
def embed(file: TextIO, model: str, lunos: Lunos, target: str) -> None:
    """Embed each line of a file, as JSON lines.

    Each line of the output has "text" and "embedding". "-" is stdin.
    """
    name = "stdin" if file.name == "-" else file.name
    try:
        texts = [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError:
        raise click.ClickException(f"{name} isn't text in UTF-8") from None
    if not texts:
        raise click.ClickException(f"{name} has no text to embed")
    if os.path.exists(target) and os.path.exists(file.name):
        if os.path.samefile(target, file.name):
            raise click.UsageError(f"{target} would be overwritten: give -o another name")
    elif target != "-" and not os.path.exists(target):  # else a request would be paid in vain
        made = os.path.realpath(target) if os.path.islink(target) else target
        open(made, "x").close()
        os.unlink(made)
    total, tokens, done = Decimal(0), 0, 0
    # the lines that a terminal or a pipe gets are progress enough
    shown = sys.stderr if target != "-" and sys.stderr.isatty() else io.StringIO()
    bar: Any = click.progressbar(length=len(texts), show_pos=True, width=0, file=shown)
    try:
        with click.open_file(target, "w", encoding="utf-8", lazy=True) as out, bar:
            for i in range(0, len(texts), _BATCH):
                batch = texts[i : i + _BATCH]
                result = lunos.embeddings.create(model=model, input=batch)
                for text, vector in zip(batch, result.vectors, strict=True):
                    line = {"text": text, "embedding": list(vector)}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                done += len(batch)
                total += output.cost_of(result.usage, model, lunos) or 0
                tokens += result.usage.input_tokens if result.usage else 0
                bar.update(len(batch))
    except (LunosError, OSError) as error:
        if getattr(error, "errno", None) == errno.EPIPE:  # a closed pipe needs no message
            raise
        said = one_line(error) if isinstance(error, LunosError) else f"{target}: {error.strerror}"
        said += f"; {done} of {len(texts)} texts are done" if done else ""
        raise click.ClickException(said) from None
    counts = f"{output.counted(len(texts), 'text')}, {output.counted(tokens, 'token')}"
    output.note(f"{model}: {counts}, {output.usd(total)}")
