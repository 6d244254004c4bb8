"""A chat page: FastAPI streams the answer to the browser as server-sent events.

Without LUNOS_API_KEY the local gateway answers with scripted responses. Open the URL that it
prints; `/?question=Hello` asks at once.

python examples/chat_page.py [port [model]]
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from _gateway import Connection, connect, run
from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from langchain_lunos import ChatLunos
from lunos_core import LunosError


class Question(BaseModel):
    """What the page sends."""

    text: str = Field(min_length=1, max_length=4000)


def create_app(connection: Connection, model: str | None = None) -> FastAPI:
    """The page and its endpoint."""
    llm = ChatLunos(
        model=model or "openai/gpt-4o-mini",
        base_url=connection.base_url,
        api_key=connection.api_key,
        app_id="chat-page",
    )
    app = FastAPI()

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(Path(__file__).with_suffix(".html"))

    @app.post("/chat")
    async def chat(question: Question) -> StreamingResponse:
        # a browser that goes away ends this stream, and with it the request to Lunos
        return StreamingResponse(events(llm, question.text), media_type="text/event-stream")

    return app


async def events(llm: ChatLunos, text: str) -> AsyncIterator[str]:
    """One event for each piece, then `done`; an error is an event too, as the status is sent."""
    try:
        async for chunk in llm.astream(text):
            if chunk.text:
                yield event("piece", chunk.text)
        yield event("done", "")
    except LunosError as error:
        # the kind only: the error's text is for the server's log, not for visitors
        yield event("failed", type(error).__name__)


def event(name: str, data: str) -> str:
    """Encode as JSON, since an event's data must be a single line."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def main() -> None:
    """Serve until Ctrl-C."""
    port, model = (*sys.argv[1:], None, None)[:2]
    with connect() as connection:
        app = create_app(connection, model)
        print(f"http://127.0.0.1:{port or 8000}/", flush=True)
        uvicorn.run(app, port=int(port or 8000), log_level="warning")


if __name__ == "__main__":
    run(main)
