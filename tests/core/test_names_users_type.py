"""Names of issue 12's section 5, wrong ones: each raises before the network, in both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from lunos_core import chat_request

langchain = pytest.importorskip("langchain_lunos")
llama_index = pytest.importorskip("llama_index_lunos")
SETTINGS = {"model": "m", "api_key": "k", "base_url": "http://127.0.0.1:9/v1", "max_retries": 0}
CHATS = [langchain.ChatLunos, langchain.LunosLLM, llama_index.Lunos]
EMBEDDINGS = [langchain.LunosEmbeddings, llama_index.LunosEmbedding]
NUMBERS = ["timeout", "max_retries", "total_timeout", "stream_idle_timeout", "max_response_bytes"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("kind", [*CHATS, *EMBEDDINGS])
@pytest.mark.parametrize("flag", [True, False])
def test_a_flag_is_no_number_of_a_connection(kind: Any, name: str, flag: bool) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not {flag}"):
        kind(**{**SETTINGS, name: flag})


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens", "seed", "top_k", "min_p"])
@pytest.mark.parametrize("kind", [langchain.ChatLunos, llama_index.Lunos])
def test_a_flag_is_no_number_of_the_wire(kind: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not True"):
        kind(**SETTINGS, **{name: True})


def test_flags_stay_flags() -> None:
    for kind in CHATS:
        llm = kind(**SETTINGS, logprobs=True, retry_on_timeout=True)
        assert llm.logprobs in (True, 1)
        assert llm.retry_on_timeout is True


MARKS: list[tuple[Any, str]] = [
    ({}, "cache_control needs a type"),
    ({"ttl": "1h"}, "cache_control needs a type"),
    ({"type": 5}, "cache_control needs a type"),
    ({"type": "ephemeral", "ttl": 5}, r"cache_control\.ttl must be a str"),
    ("ephemeral", "cache_control"),
]


@pytest.mark.parametrize(("mark", "said"), MARKS)
def test_a_mark_for_the_cache_that_no_provider_knows(mark: Any, said: str) -> None:
    hello = [{"role": "user", "content": "Hi"}]
    for make in (
        lambda: chat_request(hello, model="m", cache_control=mark),
        lambda: langchain.ChatLunos(**SETTINGS, cache_control=mark),
        lambda: langchain.ChatLunos(**SETTINGS).invoke("Hi", cache_control=mark),
        lambda: langchain.ChatLunos(**SETTINGS).bind(cache_control=mark).invoke("Hi"),
        lambda: llama_index.Lunos(**SETTINGS, cache_control=mark),
        lambda: llama_index.Lunos(**SETTINGS).complete("Hi", cache_control=mark),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            make()


def all_of(model: Any, is_async: bool) -> Any:
    names = ("embed_documents", "get_text_embedding_batch", "get_text_embedding_array")
    prefix = "a" if is_async else ""
    return [getattr(model, prefix + name) for name in names if hasattr(model, name)]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", EMBEDDINGS)
@pytest.mark.parametrize("texts", ["one text", "", None, 5])
async def test_one_text_is_not_embedded_letter_by_letter(
    kind: Any, texts: Any, is_async: bool
) -> None:
    for method in all_of(kind(**SETTINGS), is_async):
        name = type(texts).__name__
        with pytest.raises(TypeError, match=f"texts must be a list of str, not {name}: for one"):
            await method(texts) if is_async else method(texts)


def test_a_size_of_batches_by_another_name_is_not_sent() -> None:
    model = langchain.LunosEmbeddings(**SETTINGS)
    with pytest.raises(TypeError, match=r"'batch_size' isn't a parameter.*'chunk_size'"):
        model.embed_documents(["a"], batch_size=2)


def test_every_error_class_has_the_fields_names() -> None:
    names = ("status_code", "body", "request", "headers", "request_id", "response", "message")
    for package in (langchain, llama_index):
        for name in package.__all__:
            kind = getattr(package, name)
            if isinstance(kind, type) and issubclass(kind, Exception):
                error = kind("what went wrong")
                assert [item for item in names if not hasattr(error, item)] == [], name
                assert error.message.startswith("what went wrong")
