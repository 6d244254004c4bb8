"""`lunos ask` and `lunos chat`: questions from the command line, answers as they come."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import Completion, Lunos, LunosError
from lunos_core.endpoints.chat.content_parts import data_url, file_part, image_part, text_part

_STDIN = "-"


def content_of(prompt: str, files: Sequence[Path], images: Sequence[str]) -> Any:
    """Return a user message's content: text, or parts where there are images or documents."""
    texts = [prompt] if prompt else []
    parts: list[dict[str, Any]] = [image_part(_image_url(image)) for image in images]
    for path in files:
        data = path.read_bytes()
        if data.startswith(b"%PDF"):
            url = data_url(base64.b64encode(data).decode(), "application/pdf")
            parts.append(file_part(url, path.name))
            continue
        try:
            texts.append(f"{path.name}:\n{data.decode('utf-8')}")
        except UnicodeDecodeError:
            raise click.ClickException(f"{path} is neither text in UTF-8 nor a PDF") from None
    text = "\n\n".join(texts)
    return [*([text_part(text)] if text else []), *parts] if parts else text


def _image_url(image: str) -> str:
    if image.startswith(("https://", "http://", "data:")):
        return image
    kind = mimetypes.guess_type(image)[0] or ""
    if not kind.startswith("image/"):
        raise click.ClickException(f"{image} isn't an image by its name (.png, .jpg, .webp, …)")
    return data_url(base64.b64encode(Path(image).read_bytes()).decode(), kind)


def _schema(value: str) -> dict[str, Any]:
    text = value if value.lstrip().startswith("{") else Path(value).read_text("utf-8")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"--schema isn't valid JSON: {error}") from None
    if not isinstance(schema, dict):
        raise click.ClickException("--schema must be a JSON object")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def answer(lunos: Lunos, model: str, messages: list[Any], **params: Any) -> Completion:
    """Stream an answer to the terminal and return it."""
    whole: Completion | None = None
    stream = lunos.chat.completions.create(model=model, messages=messages, stream=True, **params)
    ends_line = True
    try:
        with stream:
            for chunk in stream:
                output.write(chunk.text)
                ends_line = chunk.text.endswith("\n") if chunk.text else ends_line
                whole = chunk.last or whole
    finally:
        click.echo("", nl=not ends_line or whole is not None)
    if whole is None:
        raise click.ClickException("the stream held no answer")
    _tell_more(whole)
    return whole


def _tell_more(whole: Completion) -> None:
    choice = whole.choices[0] if whole.choices else None
    if choice is not None and choice.message.refusal:
        output.note(f"refused: {choice.message.refusal}")
    for image in choice.message.images if choice is not None else ():
        output.note(f"image: {image[:60]}{'…' if len(image) > 60 else ''}")
    if choice is not None and choice.finish_reason == "length":
        output.note("the answer is cut off: --max-tokens")


@click.command()
@click.argument("prompt", nargs=-1)
@output.MODEL
@output.APP_ID
@click.option("-s", "--system", help="What the model is told first.")
@click.option("-f", "--file", "files", multiple=True, type=click.Path(exists=True, path_type=Path),
              help="A text or PDF to send along; several times.")  # fmt: skip
@click.option("-i", "--image", "images", multiple=True, help="A path or URL; several times.")
@click.option("--schema", help="A JSON schema, or its file: the answer is JSON that fits.")
@click.option("--max-tokens", type=click.IntRange(1))
@click.option("--temperature", type=click.FloatRange(0, 2))
@output.JSON
def ask(
    prompt: tuple[str, ...], model: str, app_id: str | None, system: str | None,
    files: tuple[Path, ...], images: tuple[str, ...], schema: str | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Ask a question; the answer is streamed, and its cost told on stderr.

    Text on stdin is sent along: git diff | lunos ask "What changed?"
    """
    text = " ".join(word for word in prompt if word != _STDIN)
    if _STDIN in prompt or not sys.stdin.isatty():
        piped = sys.stdin.read().strip()
        text = f"{text}\n\n{piped}".strip()
    content = content_of(text, files, images)
    if not content:
        raise click.UsageError('nothing to ask: lunos ask "…"')
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": content})
    params = {name: value for name, value in options.items() if value is not None}
    if schema is not None:
        params["response_format"] = _schema(schema)
    with output.client(app_id) as lunos:
        if not as_json:
            whole = answer(lunos, model, messages, **params)
            output.note(output.account(whole.usage, model, lunos)[1])
            return
        whole = lunos.chat.completions.create(model=model, messages=messages, **params)
        cost = output.cost_of(whole.usage, model, lunos)
    facts = {
        "text": whole.text,
        "model": whole.model,
        "finish_reason": whole.choices[0].finish_reason if whole.choices else None,
        "usage": output.plain(whole.usage),
        "cost": None if cost is None else float(cost),
    }
    click.echo(json.dumps(facts, indent=2))


@click.command()
@output.MODEL
@output.APP_ID
@click.option("-s", "--system", help="What the model is told first.")
def chat(model: str, app_id: str | None, system: str | None) -> None:
    """Talk with a model; Ctrl-D ends, and the cost of everything is told."""
    start = [{"role": "system", "content": system}] if system else []
    messages = list(start)
    total = Decimal(0)
    output.note(f"{model}; /new starts again, /quit or Ctrl-D ends")
    with output.client(app_id) as lunos:
        while True:
            try:
                said = input("> ").strip()
            except EOFError:
                break
            if said in ("/quit", "/exit"):
                break
            if said == "/new":
                messages = list(start)
            if not said or said == "/new":
                continue
            asked = [*messages, {"role": "user", "content": said}]
            try:
                whole = answer(lunos, model, asked)
            except LunosError as error:
                output.note(output.one_line(error, lunos))
                continue
            messages = [*asked, {"role": "assistant", "content": whole.text}]
            cost, line = output.account(whole.usage, model, lunos)
            total += cost or 0
            output.note(line)
    output.note(f"together {output.usd(total)}")
