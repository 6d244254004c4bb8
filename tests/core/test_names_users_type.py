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


HINTS = [
    (CHATS[0], "extra_headers", "default_headers"),
    (CHATS[0], "openai_api_key", "api_key"),
    (CHATS[0], "additional_kwargs", "model_kwargs"),
    (EMBEDDINGS[0], "batch_size", "chunk_size"),
    (EMBEDDINGS[0], "endpoint", "base_url"),
    (CHATS[2], "extra_headers", "default_headers"),
    (CHATS[2], "openai_api_base", "base_url"),
    (CHATS[2], "request_timeout", "timeout"),
    (CHATS[2], "model_kwargs", "additional_kwargs"),
    (CHATS[2], "max_completion_tokens", "max_tokens"),
    (CHATS[2], "http_async_client", "async_http_client"),
    (EMBEDDINGS[1], "batch_size", "embed_batch_size"),
    (EMBEDDINGS[1], "default_query", "extra_query"),
    (EMBEDDINGS[1], "model_id", "model"),
]


@pytest.mark.parametrize(("kind", "typed", "meant"), HINTS)
def test_a_name_from_another_package_is_translated(kind: Any, typed: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no argument {typed!r}: did you mean {meant!r}"):
        kind(**SETTINGS, **{typed: 1})


def test_verbose_is_no_verbosity() -> None:
    with pytest.raises(TypeError, match="no argument 'verbose': Pass"):
        llama_index.Lunos(**SETTINGS, verbose=True)


@pytest.mark.parametrize("name", ["model", "messages", "prompt"])
def test_further_parameters_replace_neither_model_nor_messages(name: str) -> None:
    for kind, holder in ((CHATS[0], "model_kwargs"), (CHATS[2], "additional_kwargs")):
        with pytest.raises(TypeError, match=f"{holder} can't contain {name!r}"):
            kind(**SETTINGS, **{holder: {name: "x"}})


def test_what_is_asked_is_not_given_twice() -> None:
    with pytest.raises(TypeError, match="'messages' is given twice"):
        llama_index.Lunos(**SETTINGS).complete("Hi", messages=[])
    with pytest.raises(TypeError, match="'input' is given twice"):
        langchain.LunosEmbeddings(**SETTINGS).embed_query("Hi", input=["other"])


@pytest.mark.parametrize("strict", ["yes", 1, "true"])
def test_strict_is_a_flag(strict: Any) -> None:
    def add(a: int) -> int:
        """Add."""
        return a

    tools = pytest.importorskip("llama_index.core.tools")
    llm, tool = llama_index.Lunos(**SETTINGS), tools.FunctionTool.from_defaults(add)
    for make in (
        lambda: langchain.ChatLunos(**SETTINGS).bind_tools([add], strict=strict),
        lambda: langchain.ChatLunos(**SETTINGS).with_structured_output(add, strict=strict),
        lambda: llm.chat_with_tools([tool], "Hi", strict=strict),
    ):
        with pytest.raises(ValueError, match="strict must be True or False"):
            make()


class Special:
    """As tiktoken's: `encode` refuses a text that mentions a special token."""

    def encode(self, text: str) -> list[str]:
        raise ValueError("disallowed special token")

    def encode_ordinary(self, text: str) -> list[str]:
        return text.split()


class Plain:
    """A tokenizer with `encode` alone."""

    def encode(self, text: str) -> list[str]:
        return text.split()


@pytest.mark.parametrize("tokenizer", [Special(), Plain(), str.split, lambda text: text.split()])
def test_a_tokenizer_is_an_object_or_a_function(tokenizer: Any) -> None:
    llm = llama_index.Lunos(**SETTINGS, tokenizer=tokenizer, is_chat_model=False, context_window=9)
    question = llm._prompt_question("one <|endoftext|> two", True, {})
    assert question.params["max_tokens"] == 6


@pytest.mark.parametrize("wrong", [5, True, b"x", {"a": 1}, object(), Plain])
def test_what_is_no_tokenizer_is_refused_when_it_is_given(wrong: Any) -> None:
    with pytest.raises(TypeError, match="tokenizer must be a function, an object with `encode`"):
        llama_index.Lunos(**SETTINGS, tokenizer=wrong)
