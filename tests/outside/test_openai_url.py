"""Frameworks that only take an OpenAI base URL: the recipes of docs/agent-frameworks.md.

Their packages aren't in requirements.txt, since they hold many others back: install one of them
beside this project in an environment of its own, and run this file there.
"""

from __future__ import annotations

from typing import Any

import pytest

from lunos_local import LocalGateway

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.package("crewai")
def test_a_crew_works_with_its_app_id(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CREWAI_DISABLE_TELEMETRY", "OTEL_SDK_DISABLED"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "false")
    crewai = pytest.importorskip("crewai")
    llm = crewai.LLM(
        model="openai/openai/gpt-4o",
        base_url=gateway.base_url,  # ends in /v1
        api_key=gateway.api_key,
        default_headers={"X-App-ID": "website"},
    )
    agent = crewai.Agent(role="Clerk", goal="Help", backstory="Patient", llm=llm)
    task = crewai.Task(description="Say hello", expected_output="A word", agent=agent)
    answer = crewai.Crew(agents=[agent], tasks=[task]).kickoff()
    assert "Say hello" in str(answer)
    request = gateway.requests()[-1]
    assert request["model"] == "openai/gpt-4o"
    assert request["app_id"] == "website"


@pytest.mark.package("gpt-researcher")
async def test_gpt_researcher_asks_for_chats_and_embeddings(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "OPENAI_BASE_URL": gateway.base_url,
        "OPENAI_API_KEY": gateway.api_key,
        "SMART_LLM": "openai:openai/gpt-4o",
        "EMBEDDING": "openai:openai/text-embedding-3-small",
        "EMBEDDING_KWARGS": '{"check_embedding_ctx_length": false}',  # send texts, not tokens
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("gpt_researcher")
    from gpt_researcher.config import Config
    from gpt_researcher.memory import Memory
    from gpt_researcher.utils.llm import create_chat_completion

    config: Any = Config()
    answer = await create_chat_completion(
        messages=[{"role": "user", "content": "Hello"}],
        model=config.smart_llm_model,
        llm_provider=config.smart_llm_provider,
        max_tokens=100,
    )
    assert answer == "Scripted answer to: Hello"
    memory = Memory(config.embedding_provider, config.embedding_model, **config.embedding_kwargs)
    assert memory.get_embeddings().embed_query("Hello")
    models = [request["model"] for request in gateway.requests()[-2:]]
    assert models == ["openai/gpt-4o", "openai/text-embedding-3-small"]
