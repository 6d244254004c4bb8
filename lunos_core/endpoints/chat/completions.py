"""`POST /completions`: text completion, the endpoint that the API reference documents.

Source of the format: the Lunos API reference (parameters); the answer is OpenAI's flat shape or the
envelope `{"id", "object": "completion", …, "data": {"choices": [{"text", …}]}, "usage"}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lunos_core.endpoints.build import fallback_of, json_call
from lunos_core.endpoints.chat.requests import parse_chat, with_usage
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.endpoints.params import COMPLETION
from lunos_core.request import Request, StreamRequest

PATH = "/completions"


def completion_request(
    prompt: str | Sequence[str], /, *, model: str, **params: Any
) -> Request[Completion]:
    """The request for one text completion, or one for each of several prompts.

    With several prompts and `n`, the answers of prompt `i` are the choices `i*n` to `i*n + n - 1`.

    Args:
        prompt: the text to go on from, or several.
        model: the model's id.
        **params: the wire's parameters (`endpoints.params.COMPLETION`; the server's default for
            `max_tokens` is 16), and `app_id`, `extra_headers`, `extra_body`, `timeout` of this one
            call; `None` means "not set".

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range, or no prompt at all.

    Example:
        >>> completion_request("Once upon", model="m", max_tokens=9).body
        b'{"model":"m","prompt":"Once upon","max_tokens":9}'
    """
    return Request(
        **json_call(PATH, _fields(prompt, model), params, COMPLETION),
        parse=parse_chat,  # reads `text` where there is no `message`
        fallback=fallback_of(completion_request, prompt, params),
    )


def completion_stream_request(
    prompt: str | Sequence[str], /, *, model: str, **params: Any
) -> StreamRequest[Chunk]:
    """The request for a streamed text completion: as `completion_request`.

    Args:
        prompt: the text to go on from, or several.
        model: the model's id.
        **params: as those of `completion_request`. The usage is asked for unless `stream_options`
            is given.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range, or no prompt at all.

    Example:
        >>> completion_stream_request("Once", model="m", stream_options={}).body
        b'{"model":"m","prompt":"Once","stream":true}'
    """
    fields = {**_fields(prompt, model), "stream": True}
    return StreamRequest(
        **json_call(PATH, fields, with_usage(params), COMPLETION),
        reader=ChatStreamReader,
        fallback=fallback_of(completion_stream_request, prompt, params),
    )


def _fields(prompt: str | Sequence[str], model: str) -> dict[str, Any]:
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts:
        raise ValueError("prompt is an empty list: give at least one text")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"prompt[{position}] must be a str, not {type(text).__name__}")
    return {"model": model, "prompt": prompt if isinstance(prompt, str) else texts}
