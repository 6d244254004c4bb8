"""LangChain's own suites for chat models: every capability on, nothing overridden."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_lunos import ChatLunos
from lunos_local import LocalGateway


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLunos

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "lunos/scripted", "api_key": "test", "base_url": "http://127.0.0.1:9/v1"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {
            "LUNOS_API_KEY": "from-env",
            "LUNOS_BASE_URL": "https://env.invalid/v1",
            "LUNOS_APP_ID": "app-from-env",
        }
        expected = {
            "api_key": "from-env",
            "base_url": "https://env.invalid/v1",
            "app_id": "app-from-env",
        }
        return environment, {"model": "lunos/scripted"}, expected


@pytest.mark.usefixtures("gateway_of_class", "no_downloads")
class TestIntegration(ChatModelIntegrationTests):
    gateway: LocalGateway

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLunos

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "lunos/scripted",
            "api_key": self.gateway.api_key,
            "base_url": self.gateway.base_url,
        }

    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_video_inputs = True
    supports_anthropic_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    enable_vcr_tests = True
    supports_model_override = True
    model_override_value = "lunos/scripted-mini"

    @property
    def supported_usage_metadata_details(
        self,
    ) -> dict[
        Literal["invoke", "stream"],
        list[
            Literal[
                "audio_input",
                "audio_output",
                "reasoning_output",
                "cache_read_input",
                "cache_creation_input",
            ]
        ],
    ]:
        details: list[Any] = [
            "audio_input",
            "audio_output",
            "reasoning_output",
            "cache_read_input",
            "cache_creation_input",
        ]
        return {"invoke": details, "stream": details}

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        sound = {"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"}
        return self._ask(HumanMessage([{"type": "text", "text": "Listen."}, sound]), stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask(
            HumanMessage("Speak."), stream, modalities=["text", "audio"], audio={"voice": "a"}
        )

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask(HumanMessage("Think."), stream, reasoning={"effort": "low"})

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        question = _to_cache(f"Read me twice, {stream}.")
        self._ask(question, stream)
        return self._ask(question, stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._ask(_to_cache(f"Keep me, {stream}."), stream)

    def _ask(self, message: HumanMessage, stream: bool, **kwargs: Any) -> AIMessage:
        model = ChatLunos(**self.chat_model_params)
        if not stream:
            return model.invoke([message], **kwargs)
        full: AIMessageChunk | None = None
        for chunk in model.stream([message], **kwargs):
            full = chunk if full is None else full + chunk
        assert full is not None
        return full


def _to_cache(text: str) -> HumanMessage:
    block = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
    return HumanMessage([block, {"type": "text", "text": "What is it?"}])


def test_the_made_files_are_what_the_suite_would_have_fetched(no_downloads: None) -> None:
    from langchain_tests.integration_tests import chat_models

    assert chat_models.httpx.get("https://x.invalid/a.pdf").content.startswith(b"%PDF")
    assert chat_models.httpx.get("https://x.invalid/a.png").content.startswith(b"\x89PNG")
    assert chat_models.httpx.get("https://x.invalid/a.wav").content.startswith(b"RIFF")
