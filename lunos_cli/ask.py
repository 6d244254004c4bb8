"""`lunos ask`: a question from the command line, its answer as it comes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import Completion, Lunos
from lunos_core.endpoints.chat.content_parts import image_part, part_of_file, text_part
from lunos_core.endpoints.images import GeneratedImage, Images

_CUT = {"length": "--max-tokens", "content_filter": "by a content filter"}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Image(click.types.StringParamType):
    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value.startswith(("https://", "http://", "data:")):
            return image_part(value)
        part = part_of_file(value, _FILE.convert(value, param, ctx).read_bytes())
        if part["type"] != "image_url":
            self.fail(f"{value} isn't an image by its name (.png, .jpg, .webp, …)", param, ctx)
        return part


def with_stdin(prompt: tuple[str, ...]) -> str:
    """Return the words of a question, and the text that is piped to it."""
    texts = [" ".join(word for word in prompt if word != "-").strip()]
    if "-" in prompt or not sys.stdin.isatty():
        try:
            texts.append(sys.stdin.buffer.read().decode().strip())
        except UnicodeDecodeError:
            wrong = "stdin isn't text in UTF-8: `lunos ask -f` sends images and PDFs"
            raise click.ClickException(wrong) from None
    return "\n\n".join(filter(None, texts))


def kept(url: str) -> str:
    """Return the URL of an image, or the file that holds it from now on."""
    try:
        (path,) = Images([GeneratedImage(url)]).save(tempfile.gettempdir())
    except ValueError:
        return f"{url[:60]}…"
    return url if path is None else str(path)


def remarks(whole: Completion) -> Iterator[str]:
    """Yield remarks beside an answer's text; its images are saved."""
    for choice in whole.choices:
        if choice.message.refusal:
            yield f"refused: {choice.message.refusal}"
        yield from (f"image: {kept(image)}" for image in choice.message.images)
        if choice.finish_reason in _CUT:
            yield f"the answer is cut off: {_CUT[choice.finish_reason]}"


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
    for line in remarks(whole):
        output.note(line)
    output.note(output.account(whole.usage, model, lunos))
    return whole


@click.command()
@click.argument("prompt", nargs=-1, type=output.TEXT)
@output.MODEL
@output.CLIENT
@output.SYSTEM
@click.option("-f", "--file", "files", multiple=True, type=_FILE, help="Text, PDF or image.")
@click.option("-i", "--image", "images", multiple=True, type=_Image(), help="Its path or URL.")
@output.SCHEMA
@click.option("--max-tokens", type=click.IntRange(1), help="Most tokens the answer may have.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="How varied the answer is.")
@output.JSON
def ask(
    prompt: tuple[str, ...], lunos: Lunos, messages: list[Any], model: str, **options: Any
) -> None:
    """Ask a question, and stream the answer.

    Its cost is printed on stderr. Text on stdin is sent along: git diff | lunos ask "What changed?"
    """
    texts = [with_stdin(prompt)]
    sent = list(options["images"])
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
        schema = options["schema"]
        plain = schema if isinstance(schema, dict) else schema.model_json_schema()
        named = {"name": "answer", "schema": plain}
        params["response_format"] = {"type": "json_schema", "json_schema": named}
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
