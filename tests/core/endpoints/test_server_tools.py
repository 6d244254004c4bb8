"""Web search and the reading of PDFs: typed, checked, and sent by core and adapters alike."""

from __future__ import annotations

from typing import Any, get_type_hints

import httpx
import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos as LlamaIndexLunos
from lunos_core import Lunos, WebSearch, chat_request, chat_stream_request
from lunos_core.endpoints.params import WEB_SEARCH
from lunos_core.wire import json
from tests.core.wire_samples import HELLO, Wire, reply

SEARCH: WebSearch = {
    "engine": "exa",
    "max_results": 3,
    "max_total_results": 9,
    "search_context_size": "low",
    "allowed_domains": ["example.com"],
    "excluded_domains": ["example.org"],
}
PDF = [{"id": "file-parser", "pdf": {"engine": "native"}}]
ANSWER = reply({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]})
SETTINGS: dict[str, Any] = {"api_key": "k", "max_retries": 0}


def test_every_parameter_has_a_type_and_a_check() -> None:
    assert get_type_hints(WebSearch).keys() == WEB_SEARCH.keys() == SEARCH.keys()


@pytest.mark.parametrize("setting", [SEARCH, {"engine": "auto"}, {}, True, False, None])
def test_both_are_sent_by_core_and_adapters(setting: Any) -> None:
    wire = Wire(ANSWER)
    http = httpx.Client(transport=httpx.MockTransport(wire))
    params = {"web_search": setting, "plugins": PDF}
    core = Lunos("k", http_client=http)
    core.chat.completions.create(model="m", messages=HELLO, **params)
    ChatLunos(model="m", http_client=http, **SETTINGS, **params).invoke("Hello")
    ChatLunos(model="m", http_client=http, **SETTINGS).bind(**params).invoke("Hello")
    LlamaIndexLunos("m", http_client=http, **SETTINGS, **params).chat([ChatMessage(content="Hi")])
    tool: dict[str, Any] = {"type": "web_search"}
    if isinstance(setting, dict) and setting:
        tool["parameters"] = setting
    for body in wire.bodies:
        assert body.get("tools") == (None if setting in (False, None) else [tool])
        assert body["plugins"] == PDF


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"web_search": {"engine": "bing"}}, "web_search.engine must be one of auto, native"),
        ({"web_search": {"engin": "exa"}}, "web_search doesn't take 'engin'"),
        ({"web_search": {"max_results": "3"}}, "web_search.max_results must be an int"),
        ({"web_search": {"max_total_results": 0}}, "web_search.max_total_results must be 1"),
        ({"web_search": {"search_context_size": 1}}, "web_search.search_context_size must be"),
        ({"web_search": {"allowed_domains": "x.test"}}, "web_search.allowed_domains must be a"),
        ({"web_search": {"excluded_domains": []}}, "web_search.excluded_domains must not be"),
        ({"web_search": "exa"}, "web_search must be True or a mapping"),
        (
            {"plugins": [{"id": "file-parser", "pdf": {"engine": "ocr"}}]},
            r"plugins\[0\].pdf.engine must be one of mistral-ocr, cloudflare-ai, native",
        ),
    ],
)
def test_a_mistake_names_the_parameter(params: dict[str, Any], said: str) -> None:
    for make in (chat_request, chat_stream_request):
        with pytest.raises((TypeError, ValueError), match=said):
            make(HELLO, model="m", **params)
    new = {"plugins": [{"id": "file-parser", "pdf": {"engine": "next"}}]}
    assert json.loads(chat_request(HELLO, model="m", extra_body=new).body)["plugins"]
    assert chat_request(HELLO, model="m", plugins=[{"id": "other", "pdf": 1}])


@pytest.mark.parametrize("name", ["file_data", "fileData"])
def test_a_file_part_without_a_name_goes_out_under_the_wires_name(name: str) -> None:
    data = "data:application/pdf;base64,JVBERi0="
    wire = Wire(ANSWER)
    http = httpx.Client(transport=httpx.MockTransport(wire))
    llm = ChatLunos(model="m", http_client=http, **SETTINGS)
    llm.invoke([HumanMessage([{"type": "file", "file": {name: data}}])])
    assert wire.sent.url.path == "/v1/chat/completions"
    assert wire.bodies[0]["messages"][0]["content"][0]["file"]["file_data"] == data
    address = {"type": "file", "file": {"url": "https://x.test/a.pdf"}}
    llm.invoke([HumanMessage([address])])
    assert wire.bodies[1]["messages"][0]["content"] == [address]


def test_pydantic_keeps_options_of_the_server_that_this_package_does_not_know() -> None:
    from pydantic import TypeAdapter

    from lunos_core.endpoints.server_tools import Plugins, WebSearchSetting

    for value in (True, None, {"engine": "new", "depth": 3}):
        assert TypeAdapter(WebSearchSetting).validate_python(value) == value
    plugins = [{"id": "file-parser", "pdf": {"engine": "new"}, "more": 1}]
    assert TypeAdapter(Plugins).validate_python(plugins) == plugins
