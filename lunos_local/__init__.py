"""A stand-in for the Lunos gateway on 127.0.0.1: no account, no network.

Start it with `python -m lunos_local [--port N]`, or in a test:

    from lunos_local import LocalGateway

    with LocalGateway() as gateway:
        ...  # give gateway.base_url and gateway.api_key to a client
        assert gateway.requests()[-1]["app_id"] == "my-app"

It speaks the real gateway's API and checks requests strictly: a malformed request gets a 400
that names the place (`messages[1].content[0].type`). `GET /requests` lists the requests.

Models:

| id | what it is |
|---|---|
| `local/smollm2-135m` | SmolLM2-135M-Instruct, run by llama.cpp: real, and very small |
| `local/<file stem>` | any other model file, given with `--gguf FILE` |
| `local/e5-small` | multilingual-e5-small: real embeddings, 384 dimensions |
| `local/whisper` | Whisper tiny.en, run by faster-whisper: real transcription of English |
| `local/extractive` | quotes sentences of the prompt; generates nothing |
| `local/stand-in` | quotes, calls tools, fills schemas; serves names such as `openai/gpt-4o` |
| `lunos/scripted`, `lunos/scripted-mini` | scripted responses, the same every time |
| `lunos/scripted-envelope` | the same; whole answers use the envelope `data.choices` |
| `lunos/scripted-priced` | the same, priced in the catalog; its usage has no `cost` |
| `lunos/scripted-embedding` | unit vectors of hashed words, sent in reverse order |
| `lunos/scripted-image` | plain PNG images made from the prompt |
| `lunos/scripted-speech` | speech by espeak-ng if it is installed, else a tone per word |
| `lunos/scripted-video` | a second of plain colours, ready at the third query |
| `lunos/scripted-whisper` | a scripted transcription: the file's name, size and length |

Models that fail on demand. Each serves chat, completions and embeddings; if a fault needs a
stream, a request that doesn't stream gets the nearest equivalent (in brackets).

| id | what it does |
|---|---|
| `lunos/error-400`, `-402`, `-404`, `-408`, `-409`, `-422` | that status, with an error object |
| `lunos/error-500`, `-503` | that status, with an error object |
| `lunos/error-401` | 401 `{"error": "Invalid secret key"}`: the error is a bare string |
| `lunos/error-403` | 403 `{"message": "..."}`, without `error` |
| `lunos/error-429` | 429 with `Retry-After: 1` |
| `lunos/error-502` | 502 with a proxy's HTML page |
| `lunos/flaky-429`, `lunos/flaky-500` | fail on the first request with a given body, then answer |
| `lunos/cut-stream` | drops the connection in the middle [half of the JSON] |
| `lunos/stopped-stream` | ends with no finish_reason and no `[DONE]` [finish_reason null] |
| `lunos/no-done` | ends with a finish_reason but no `[DONE]`, which is valid [a normal answer] |
| `lunos/error-in-stream` | an error event after a few chunks, then the end [502] |
| `lunos/stall` | a few chunks, then silence until the client leaves [silence] |
| `lunos/slow` | waits a second, then answers |
| `lunos/html` | 200 with an HTML page |
| `lunos/empty` | 200 with an empty body |
| `lunos/garbage` | 200 with JSON of the wrong shape |
| `lunos/error-in-200` | 200 with an error object [streamed: as the first event] |
| `lunos/short-embeddings` | one vector missing: the last text has none [a normal answer] |
| `lunos/refusal` | `refusal` instead of content |
| `lunos/content-filter` | half an answer, finish_reason content_filter |
| `lunos/context-overflow` | 400 with code context_length_exceeded |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lunos_local.app import create_app
    from lunos_local.server import LocalGateway

__all__ = ["LocalGateway", "create_app"]

_HOMES = {"LocalGateway": "lunos_local.server", "create_app": "lunos_local.app"}


def __getattr__(name: str) -> Any:
    # lazy: importing the package must not import a web server
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise ImportError(
            f'lunos_local needs {error.name!r}: pip install "lunos-integrations[local]"'
        ) from error
