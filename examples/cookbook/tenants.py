"""FastAPI streams answers to the customers of several tenants; each tenant's cost is counted.

python examples/cookbook/tenants.py [PORT]
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from langchain_lunos import ChatLunos
from lunos_core import LunosError, UsageLedger

TENANTS = {"key-of-acme": "acme", "key-of-globex": "globex"}  # yours are in a database
ledger = UsageLedger()
llm = ChatLunos(model="openai/gpt-4o-mini")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Count all calls of this process while it serves."""
    ledger.start()
    yield
    ledger.stop()


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What a customer sends."""

    text: str = Field(min_length=1, max_length=4000)


def tenant_of(x_tenant_key: Annotated[str, Header()]) -> str:
    """Return the tenant whose key the request has."""
    if x_tenant_key not in TENANTS:
        raise HTTPException(401, "unknown tenant key")
    return TENANTS[x_tenant_key]


@app.post("/chat")
async def chat(question: Question, tenant: Annotated[str, Depends(tenant_of)]) -> StreamingResponse:
    """Stream the answer as plain text; when the customer leaves, the request to Lunos ends too."""
    return StreamingResponse(pieces(question.text, tenant), media_type="text/plain")


async def pieces(text: str, tenant: str) -> AsyncIterator[str]:
    """Ask on the tenant's account."""
    try:
        async for chunk in llm.astream(text, app_id=f"tenant-{tenant}"):
            yield chunk.text
    except LunosError as error:
        # the status is sent already; the error's text is for your log, not for customers
        yield f"\n[the answer broke off: {type(error).__name__}]"


@app.get("/costs")
async def costs() -> list[dict[str, Any]]:
    """Return what each tenant has used so far."""
    return [{name: row[name] for name in ("app_id", "calls", "cost")} for row in ledger.rows()]


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if sys.argv[1:] else 8000)
