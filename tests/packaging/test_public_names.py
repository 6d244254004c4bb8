"""Every name that a user may have imported so far still works: names come, none goes."""

from __future__ import annotations

import importlib
import typing

import pytest

PUBLIC = {
    "lunos_core": """
        AsyncCatalog AsyncClient AsyncLunos AsyncStream Balance Budget CallRecord Catalog Chunk
        Client Completion Config EmbeddingArray Embeddings GeneratedImage Images Lunos
        LunosAPIError
        LunosAuthenticationError LunosBadRequestError LunosBudgetError LunosConfigError
        LunosConflictError LunosConnectionError LunosContextOverflowError LunosCostWarning
        LunosError LunosNotFoundError LunosPaymentError LunosPermissionError LunosPlainHTTPWarning
        LunosRateLimitError LunosResponseError LunosServerError LunosStreamInterruptedError
        LunosTimeoutError Message ModelInfo RateLimit Request Secret SharedPace Stream StreamRequest
        ToolCall
        Transcription Usage UsageLedger UsageStore app chat_request chat_stream_request
        balance_request completion_request completion_stream_request current_app_id current_tags
        embedding_array_request embedding_request image_chat_request image_request models_request
        tags transcription_request Speech speech_request
        speech_stream_request VideoJob video_request video_status_request WebSearch
    """,
    "langchain_lunos": """
        ChatLunos LunosAPIError LunosAudioTranscriber LunosAuthenticationError
        LunosBadRequestError LunosBudgetError LunosConfigError LunosConflictError
        LunosConnectionError LunosContextOverflowError LunosEmbeddings LunosError
        LunosImageGeneration LunosLLM LunosNotFoundError LunosPaymentError LunosPermissionError
        LunosRateLimitError LunosRefusalError LunosResponseError LunosServerError
        LunosStreamInterruptedError LunosTimeoutError LunosTruncatedError langsmith_costs
        register LunosSpeech
    """,
    "llama_index_lunos": """
        Lunos LunosAudioReader LunosEmbedding LunosImageToolSpec LunosSpeechToolSpec
        LunosStructuredOutputError
    """,
    "lunos_local": "LocalGateway create_app",
    "lunos_bulk": "Job complete embed",
}
# paths beside `__all__` that docs, LangChain's serialized objects or LlamaIndex's conventions name
PATHS = """
    langchain_lunos.chat_models.ChatLunos
    langchain_lunos.llms.LunosLLM
    langchain_lunos.embeddings.LunosEmbeddings
    llama_index.llms.lunos.Lunos
    llama_index.embeddings.lunos.LunosEmbedding
    lunos_core.catalog.Catalog
    lunos_core.catalog.AsyncCatalog
    lunos_core.errors.LunosError
    lunos_core.config.Config
    lunos_cli.main
"""


@pytest.mark.parametrize("package", PUBLIC)
def test_a_public_name_stays(package: str) -> None:
    module = importlib.import_module(package)
    names = PUBLIC[package].split()
    assert not [name for name in names if name not in module.__all__]
    assert not [name for name in names if getattr(module, name, None) is None]


def test_a_new_public_name_is_held_too() -> None:
    """Else it could go again unnoticed: add it to `PUBLIC`."""
    for package, names in PUBLIC.items():
        assert set(importlib.import_module(package).__all__) == set(names.split()), package


@pytest.mark.parametrize("path", PATHS.split())
def test_a_documented_path_stays(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("name", ["app", "tags"])
def test_a_function_is_not_hidden_by_a_module_of_its_name(name: str) -> None:
    """`from lunos_core import app` is the function, whatever has been imported before."""
    import lunos_core

    for module in ("catalog", "sdk", "transport.client", "accounting.ledger"):
        importlib.import_module(f"lunos_core.{module}")
    assert callable(getattr(lunos_core, name))


def test_the_same_class_stands_behind_each_of_its_paths() -> None:
    import langchain_lunos.chat_models
    import llama_index.llms.lunos
    import llama_index_lunos

    assert langchain_lunos.ChatLunos is langchain_lunos.chat_models.ChatLunos
    assert llama_index.llms.lunos.Lunos is llama_index_lunos.Lunos
    assert typing.get_type_hints(langchain_lunos.ChatLunos)
