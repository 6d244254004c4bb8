"""LangChain's own suites for embeddings: nothing overridden."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_lunos import LunosEmbeddings
from lunos_local import LocalGateway


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LunosEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "lunos/scripted-embedding", "api_key": "test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"LUNOS_API_KEY": "from-env", "LUNOS_APP_ID": "app-from-env"}
        expected = {"api_key": "from-env", "app_id": "app-from-env"}
        return environment, {"model": "lunos/scripted-embedding"}, expected


@pytest.mark.usefixtures("gateway_of_class")
class TestIntegration(EmbeddingsIntegrationTests):
    gateway: LocalGateway

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LunosEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {
            "model": "lunos/scripted-embedding",
            "api_key": self.gateway.api_key,
            "base_url": self.gateway.base_url,
        }
