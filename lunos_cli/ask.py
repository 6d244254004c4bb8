"""`lunos ask`: a question from the command line, its answer as it comes."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import Completion, Lunos
from lunos_core.endpoints.chat.content_parts import data_url, file_part, image_part, text_part

_FILE = click.Path(exists=True, path_type=Path)


def _data_url(path: Path, kind: str) -> str:
    return data_url(base64.b64encode(path.read_bytes()).decode(), kind)


def _image(image: str) -> dict[str, Any]:
    if image.startswith(("https://", "http://", "data:")):
        return image_part(image)
    kind = mimetypes.guess_type(image)[0] or ""
    if not kind.startswith("image/"):
        raise click.ClickException(f"{image} isn't an image by its name (.png, .jpg, .webp, …)")
    return image_part(_data_url(Path(image), kind))


def _content(text: str, files: Sequence[Path], images: Sequence[str]) -> Any:
    parts = [_image(image) for image in images]
    for path in files:
        if path.read_bytes().startswith(b"%PDF"):
            parts.append(file_part(_data_url(path, "application/pdf"), path.name))
            continue
        try:
            text = f"{text}\n\n{path.name}:\n{path.read_text('utf-8')}".strip()
        except UnicodeDecodeError:
            raise click.ClickException(f"{path} is neither text in UTF-8 nor a PDF") from None
    return [*([text_part(text)] if text else []), *parts] if parts else text


def _format(value: str) -> dict[str, Any]:
    text = value if value.lstrip().startswith("{") else Path(value).read_text("utf-8")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"--schema isn't valid JSON: {error}") from None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def answer(lunos: Lunos, model: str, messages: list[Any], **params: Any) -> Completion:
    """Stream an answer to the terminal, tell what it took, and return it."""
    whole: Completion | None = None
    with lunos.chat.completions.create(
        model=model, messages=messages, stream=True, **params
    ) as stream:
        try:
            for chunk in stream:
                click.echo(output.safe(chunk.text), nl=False)
                whole = chunk.last or whole
        finally:
            click.echo()
    if whole is None:
        raise click.ClickException("the stream held no answer")
    for choice in whole.choices:
        told = [f"refused: {choice.message.refusal}"] if choice.message.refusal else []
        told += [f"image: {image[:60]}" for image in choice.message.images]
        told += ["the answer is cut off: --max-tokens"] if choice.finish_reason == "length" else []
        for line in told:
            output.note(line)
    output.note(output.account(whole.usage, model, lunos))
    return whole


@click.command()
@click.argument("prompt", nargs=-1)
@output.MODEL
@output.APP_ID
@output.SYSTEM
@click.option("-f", "--file", "files", multiple=True, type=_FILE, help="A text or PDF to send.")
@click.option("-i", "--image", "images", multiple=True, help="The path or URL of an image to send.")
@click.option("--schema", help="A JSON schema, or its file: the answer is JSON that fits.")
@click.option("--max-tokens", type=click.IntRange(1))
@click.option("--temperature", type=click.FloatRange(0, 2))
@output.JSON
def ask(prompt: tuple[str, ...], model: str, app_id: str | None, **options: Any) -> None:
    """Ask a question, and stream the answer.

    Its cost is printed on stderr. Text on stdin is sent along: git diff | lunos ask "What changed?"
    """
    text = " ".join(word for word in prompt if word != "-")
    if "-" in prompt or not sys.stdin.isatty():
        text = f"{text}\n\n{sys.stdin.read().strip()}".strip()
    content = _content(text, options["files"], options["images"])
    if not content:
        raise click.UsageError('nothing to ask: lunos ask "…"')
    messages = output.messages_of(options["system"], content)
    params = {name: options[name] for name in ("max_tokens", "temperature") if options[name]}
    if options["schema"] is not None:
        params["response_format"] = _format(options["schema"])
    with output.client(app_id, needs_key=True) as lunos:
        if not options["as_json"]:
            answer(lunos, model, messages, **params)
            return
        whole = lunos.chat.completions.create(model=model, messages=messages, **params)
        cost = output.cost_of(whole.usage, model, lunos)
    facts = {
        "text": whole.text,
        "model": whole.model,
        "finish_reason": whole.choices[0].finish_reason if whole.choices else None,
        "usage": dict(whole.usage.raw) if whole.usage else None,
        "cost": None if cost is None else float(cost),
    }
    click.echo(json.dumps(facts, indent=2))
