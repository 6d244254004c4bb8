"""`lunos ask`: a question from the command line, its answer as it comes."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import Completion, Lunos
from lunos_core.endpoints.chat.content_parts import (
    image_part,
    part_of_file,
    split_data_url,
    text_part,
)

_CUT = {"length": "--max-tokens", "content_filter": "by a filter of content"}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _image(name: str) -> dict[str, Any]:
    if name.startswith(("https://", "http://", "data:")):
        return image_part(name)
    if not (mimetypes.guess_type(name)[0] or "").startswith("image/"):
        raise click.ClickException(f"{name} isn't an image by its name (.png, .jpg, .webp, …)")
    return part_of_file(name, Path(name).read_bytes())


def _format(value: str) -> dict[str, Any]:
    text = value if value.lstrip().startswith("{") else Path(value).read_text("utf-8")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"--schema isn't valid JSON: {error}") from None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _kept(url: str) -> str:
    """Return the URL of an image, or the new file that holds it."""
    try:
        media_type, data = split_data_url(url) or ("", "")
        content = base64.b64decode(data, validate=True)
    except ValueError:
        return f"{url[:60]}…"
    if not content:
        return url
    suffix = mimetypes.guess_extension(media_type) or ""
    with tempfile.NamedTemporaryFile(prefix="lunos-", suffix=suffix, delete=False) as file:
        file.write(content)
    return file.name


def answer(lunos: Lunos, model: str, messages: list[Any], **params: Any) -> Completion:
    """Stream an answer to the terminal, tell what it took, and return it."""
    whole: Completion | None = None
    create = lunos.chat.completions.create
    with create(model=model, messages=messages, stream=True, **params) as stream:
        try:
            for chunk in stream:
                click.echo(output.safe(chunk.text), nl=False)
                whole = chunk.last or whole
        finally:
            click.echo()
    assert whole is not None  # a stream without an end raises
    for choice in whole.choices:
        if choice.message.refusal:
            output.note(f"refused: {choice.message.refusal}")
        for image in choice.message.images:
            output.note(f"image: {_kept(image)}")
        if choice.finish_reason in _CUT:
            output.note(f"the answer is cut off: {_CUT[choice.finish_reason]}")
    output.note(output.account(whole.usage, model, lunos))
    return whole


@click.command()
@click.argument("prompt", nargs=-1)
@output.MODEL
@output.CLIENT
@output.SYSTEM
@click.option("-f", "--file", "files", multiple=True, type=_FILE, help="Text, PDF or image.")
@click.option("-i", "--image", "images", multiple=True, help="The path or URL of an image to send.")
@click.option("--schema", help="A JSON schema, or its file: the answer is JSON that fits.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of the answer.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="How varied answers are.")
@output.JSON
def ask(
    prompt: tuple[str, ...], lunos: Lunos, messages: list[Any], model: str, **options: Any
) -> None:
    """Ask a question, and stream the answer.

    Its cost is printed on stderr. Text on stdin is sent along: git diff | lunos ask "What changed?"
    """
    texts = [" ".join(word for word in prompt if word != "-")]
    if "-" in prompt or not sys.stdin.isatty():
        texts.append(sys.stdin.read().strip())
    sent = [_image(name) for name in options["images"]]
    sent += [part_of_file(path.name, path.read_bytes()) for path in options["files"]]
    texts += [part["text"] for part in sent if part["type"] == "text"]
    content: Any = "\n\n".join(filter(None, texts))
    if parts := [part for part in sent if part["type"] != "text"]:
        content = [*([text_part(content)] if content else []), *parts]
    if not content:
        raise click.UsageError('nothing to ask: lunos ask "…"')
    messages = [*messages, {"role": "user", "content": content}]
    params = {n: options[n] for n in ("max_tokens", "temperature") if options[n] is not None}
    if options["schema"] is not None:
        params["response_format"] = _format(options["schema"])
    if not options["as_json"]:
        answer(lunos, model, messages, **params)
        return
    whole = lunos.chat.completions.create(model=model, messages=messages, **params)
    cost = output.cost_of(whole.usage, model, lunos)
    choice = whole.choices[0] if whole.choices else None
    output.print_json(
        {
            "text": whole.text,
            "model": whole.model,
            "finish_reason": choice and choice.finish_reason,
            "refusal": choice and choice.message.refusal,
            "images": choice and list(choice.message.images),
            "usage": dict(whole.usage.raw) if whole.usage else None,
            "cost": None if cost is None else float(cost),
        }
    )
