"""Print which of our own files one warm call enters, in the calling thread.

python -m scripts.files_entered            how many files and functions each call enters
python -m scripts.files_entered --files    and which

Each call is made twice against the local gateway, with one model, without a catalog and without a
ledger, and the second one is traced: a stranger who debugs a call steps through these files.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from langchain_lunos import ChatLunos, LunosEmbeddings
from llama_index_lunos import Lunos, LunosEmbedding
from lunos_local import LocalGateway

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(
    f"{ROOT / package}/" for package in ("lunos_core", "langchain_lunos", "llama_index_lunos")
)


def entered(call: Callable[[], Any]) -> Counter[str]:
    """The functions that `call` enters in this thread, counted by our file."""
    functions: set[tuple[str, str, int]] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            functions.add((code.co_filename, code.co_qualname, code.co_firstlineno))

    call()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return Counter(str(Path(file).relative_to(ROOT)) for file, _, _ in functions)


def calls(settings: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """What is traced, by the line that a user writes."""
    chat = ChatLunos(model="lunos/scripted", **settings)
    embeddings = LunosEmbeddings(model="lunos/scripted-embedding", **settings)
    other = {"api_key": settings["api_key"], "api_base": settings["base_url"]}
    llm = Lunos("lunos/scripted", **other)
    embedding = LunosEmbedding("lunos/scripted-embedding", **other)
    return {
        "ChatLunos.invoke": lambda: chat.invoke("Hello"),
        "ChatLunos.stream": lambda: list(chat.stream("Hello")),
        "LunosEmbeddings.embed_query": lambda: embeddings.embed_query("Hello"),
        "Lunos.complete": lambda: llm.complete("Hello"),
        "Lunos.stream_complete": lambda: list(llm.stream_complete("Hello")),
        "LunosEmbedding.get_query_embedding": lambda: embedding.get_query_embedding("Hello"),
    }


def main() -> None:
    """Print each call's files, and how many functions of each it enters."""
    with LocalGateway() as gateway:
        settings = {"base_url": gateway.base_url, "api_key": gateway.api_key}
        for name, call in calls(settings).items():
            files = entered(call)
            print(f"{name}: {len(files)} files, {files.total()} functions")
            for file, functions in sorted(files.items()) if "--files" in sys.argv else ():
                print(f"  {functions:3} {file}")


if __name__ == "__main__":
    main()
