"""One logger for each package: quiet, with the facts of a retry, without anyone's words."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

import lunos_core
from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos
from tests.core.raw_server import RawServer, http
from tests.core.wire_samples import stored

PACKAGES = ("lunos_core", "langchain_lunos", "llama_index_lunos", "lunos_local")
ROOT = Path(lunos_core.__file__).parent.parent
PROMPT, ANSWER = "what the user said", "Hello there"
CHAT = json.dumps(stored("chat")).encode()
FAILING = http(
    503, b'{"error": {"message": "overloaded by what the user said", "code": 503}}',
    retry_after_ms="1", x_request_id="req-9",
)  # fmt: skip


@pytest.mark.slow
def test_each_package_has_one_logger_that_writes_nothing_by_itself() -> None:
    program = f"""
import logging, pkgutil, importlib
for package in {PACKAGES}:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
made = {{name: one for name, one in logging.Logger.manager.loggerDict.items()
        if name.partition(".")[0] in {PACKAGES} and isinstance(one, logging.Logger)}}
assert made.keys() == set({PACKAGES}), made
for logger in made.values():
    logger.error("this must not be seen")
    assert logger.level == logging.NOTSET, "the application decides"
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


async def _ask(adapter: str, url: str, *, is_async: bool) -> str:
    if adapter == "langchain":
        chat = ChatLunos(model="m", api_key="k", base_url=url)
        said: Any = await chat.ainvoke(PROMPT) if is_async else chat.invoke(PROMPT)
        chat.client.close()
        await chat.async_client.close()
        return str(said.text)
    llm = Lunos("m", api_key="k", api_base=url)
    asked = [ChatMessage(PROMPT)]
    answer = await llm.achat(asked) if is_async else llm.chat(asked)
    llm.close()
    await llm.aclose()
    return str(answer.message.content)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("adapter", ["langchain", "llama_index"])
async def test_a_retry_is_logged_at_info_with_attempt_wait_and_reason_only(
    adapter: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), RawServer(FAILING, http(body=CHAT)) as server:
        assert await _ask(adapter, server.url, is_async=is_async) == ANSWER
    ours = [item for item in caplog.records if item.name in PACKAGES]
    assert [(item.name, item.levelno) for item in ours] == [("lunos_core", logging.INFO)]
    told = ours[0].getMessage()
    assert told.startswith("attempt 1 failed, next in 0.00 s: LunosServerError (status 503")
    assert "request id req-9" in told
    assert PROMPT not in caplog.text
    assert ANSWER not in caplog.text


@pytest.mark.parametrize("adapter", ["langchain", "llama_index"])
async def test_arguments_that_are_not_json_are_reported_but_not_shown(
    adapter: str, caplog: pytest.LogCaptureFixture
) -> None:
    function = {"name": "weather", "arguments": '{"city": "what the model sa'}
    message = {"tool_calls": [{"id": "c", "type": "function", "function": function}]}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]})
    with caplog.at_level(logging.DEBUG), RawServer(http(body=body.encode())) as server:
        if adapter == "langchain":
            chat = ChatLunos(model="m", api_key="k", base_url=server.url)
            assert chat.invoke(PROMPT).invalid_tool_calls  # type: ignore[attr-defined]
            chat.client.close()
        else:
            llm = Lunos("m", api_key="k", api_base=server.url)
            llm.get_tool_calls_from_response(
                llm.chat([ChatMessage(PROMPT)]), error_on_no_tool_call=False
            )
            llm.close()
    (told,) = [item for item in caplog.records if item.name in PACKAGES]
    assert (told.name, told.levelno) == (f"{adapter}_lunos", logging.WARNING)
    assert "weather" in told.getMessage()
    assert "what the model sa" not in caplog.text
