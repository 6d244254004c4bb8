"""Our models over aiohttp, through the `httpx-aiohttp` transport, where that is installed."""

from __future__ import annotations

from typing import Any

from httpx_aiohttp import HttpxAiohttpClient


def ChatLunos(**settings: Any) -> Any:  # noqa: N802 - stands for the class
    """`ChatLunos` with an async client of the user's own."""
    import langchain_lunos

    return langchain_lunos.ChatLunos(http_async_client=HttpxAiohttpClient(), **settings)


def Lunos(**settings: Any) -> Any:  # noqa: N802 - stands for the class
    """`Lunos` with an async client of the user's own."""
    import llama_index_lunos

    return llama_index_lunos.Lunos(async_http_client=HttpxAiohttpClient(), **settings)
