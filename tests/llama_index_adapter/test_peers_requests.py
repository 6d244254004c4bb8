"""What LlamaIndex's own integrations of OpenAI's API promise of a request.

In our own words, from the same tests as `test_peers_promises.py`, whose first lines say which
promises aren't ours.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llama_index_lunos import Lunos
from lunos_core import LunosRateLimitError
from lunos_local import LocalGateway
from tests.llama_index_adapter.wire import (
    KEY,
    Way,
    Wire,
    answer,
    delta,
    reply,
    stream,
    text_answer,
    tool_call,
)

ASKED = [ChatMessage("Weather in Boston?")]
CALL = {"name": "weather", "arguments": '{ "place": "Boston, MA"}'}
ASSISTANT = {"role": "assistant", "content": ""}
JPEG = b"\xff\xd8\xff\xe0 a picture"
Item = TypeVar("Item")


class Box(BaseModel, Generic[Item]):
    """A box."""

    item: Item


class Plain(BaseModel):
    """A number of things."""

    count: int


def weather(place: str) -> str:
    """Tell the weather."""
    return f"{place}: sunny"


TOOL = FunctionTool.from_defaults(weather)


async def sent(way: Way, *messages: ChatMessage, **settings: Any) -> Any:
    """Return the messages of the request."""
    wire = Wire(answer())
    await way(way.llm(wire, **settings), "chat", [*messages])
    return wire.body["messages"]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "developer"])
@pytest.mark.parametrize("content", ["Hello", [TextBlock(text="Hello")]])
async def test_text_is_sent_as_one_text(way: Way, role: Any, content: Any) -> None:
    assert await sent(way, ChatMessage(content, role=role)) == [{"role": role, "content": "Hello"}]


@pytest.mark.parametrize(
    ("role", "beside"),
    [("tool", {"tool_call_id": "weather"}), ("function", {"name": "weather"})],
)
async def test_a_function_call_of_before_tools_goes_back_as_a_tool_call(
    way: Way, role: Any, beside: dict[str, Any]
) -> None:
    """It was left out, and its result refused by the server: there was no call for it."""
    called = ChatMessage(None, role="assistant", additional_kwargs={"function_call": CALL})
    result = ChatMessage("22 degrees", role=role, additional_kwargs=beside)
    assert (await sent(way, *ASKED, called, result))[1:] == [
        {**ASSISTANT, "content": None, "tool_calls": [tool_call("weather", *CALL.values())]},
        {"role": "tool", "tool_call_id": "weather", "content": "22 degrees"},
    ]


async def test_a_function_call_is_not_sent_beside_tool_calls(way: Way) -> None:
    stored = {"function_call": CALL, "tool_calls": [tool_call("c1", *CALL.values())]}
    called = ChatMessage(None, role="assistant", additional_kwargs=stored)
    result = ChatMessage("22", role="tool", additional_kwargs={"tool_call_id": "c1"})
    message = (await sent(way, *ASKED, called, result))[1]
    assert message["tool_calls"] == stored["tool_calls"]
    assert "function_call" not in message


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ({"place": "Boston", "unit": "celsius"}, '{"place":"Boston","unit":"celsius"}'),
        ('{"place": "Boston"}', '{"place": "Boston"}'),
        ({"place": "波士顿"}, '{"place":"波士顿"}'),
    ],
)
@pytest.mark.parametrize("words", ["I'll look that up.", None])
async def test_arguments_go_back_as_text_beside_what_was_said(
    way: Way, words: str | None, stored: Any, written: str
) -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs=stored)
    blocks = [*([TextBlock(text=words)] if words else []), call]
    message = (await sent(way, *ASKED, ChatMessage(role="assistant", blocks=blocks)))[1]
    assert message["content"] == words
    assert message["tool_calls"] == [tool_call("c1", "weather", written)]


async def test_reasoning_is_not_part_of_the_text(way: Way) -> None:
    blocks = [ThinkingBlock(content="Six by seven."), TextBlock(text="42.")]
    message = (await sent(way, *ASKED, ChatMessage(role="assistant", blocks=blocks)))[1]
    assert message["content"] == "42."


async def test_a_history_of_one_tool_result_is_sent(way: Way) -> None:
    result = ChatMessage("sunny", role="tool", additional_kwargs={"tool_call_id": "c1"})
    wire = [{"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
    assert await sent(way, result) == wire


async def test_an_image_that_a_tool_returned_reaches_the_model(way: Way) -> None:
    blocks = [TextBlock(text="Here."), ImageBlock(image=JPEG, image_mimetype="image/jpeg")]
    result = ChatMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": "c1"})
    tool, user = await sent(way, result)
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "Here."}
    assert user["content"][-1]["image_url"]["url"] == (
        f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    )


@pytest.mark.parametrize("detail", [None, "high"])
@pytest.mark.parametrize("source", ["url", "bytes", "file"])
async def test_an_image_stands_beside_the_text(
    way: Way, tmp_path: Path, source: str, detail: Any
) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(JPEG)
    address = "https://example.com/image.jpg"
    sources: dict[str, dict[str, Any]] = {
        "url": {"url": address},
        "bytes": {"image": JPEG},
        "file": {"path": file},
    }
    block = ImageBlock(**sources[source], image_mimetype="image/jpeg", detail=detail)
    message = ChatMessage(role="user", blocks=[block, TextBlock(text="What is it?")])
    value = (
        address if source == "url" else f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    )
    shown = {"url": value, **({"detail": detail} if detail else {})}
    assert (await sent(way, message))[0]["content"] == [
        {"type": "image_url", "image_url": shown},
        {"type": "text", "text": "What is it?"},
    ]


async def test_documents_and_sound_travel_by_value(way: Way) -> None:
    pdf = DocumentBlock(data=b"%PDF-1.4 x", document_mimetype="application/pdf", title="a.pdf")
    sound = AudioBlock(audio=b"sound!", format="mp3")
    (message,) = await sent(way, ChatMessage(role="user", blocks=[pdf, sound]))
    file, audio = message["content"]
    data = f"data:application/pdf;base64,{base64.b64encode(b'%PDF-1.4 x').decode()}"
    assert file == {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
    encoded = base64.b64encode(b"sound!").decode()
    assert audio == {"type": "input_audio", "input_audio": {"data": encoded, "format": "mp3"}}


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"tool_required": True}, "required"),
        ({"tool_required": True, "tool_choice": "none"}, "none"),
        ({"tool_required": False, "tool_choice": "required"}, "required"),
        ({"tool_required": True, "tool_choice": "weather"}, {"name": "weather"}),
        ({}, None),  # the server's default is "auto"
    ],
)
async def test_an_explicit_choice_of_tools_wins(way: Way, given: Any, choice: Any) -> None:
    wire = Wire(answer())
    await way(way.llm(wire), "chat_with_tools", [TOOL], "Weather?", **given)
    wanted = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    assert wire.body.get("tool_choice") == wanted
    assert [tool["function"]["name"] for tool in wire.body["tools"]] == ["weather"]
    assert wire.body["messages"] == [{"role": "user", "content": "Weather?"}]


async def test_no_tools_leave_no_trace_in_the_request(way: Way) -> None:
    wire = Wire(answer())
    await way(way.llm(wire), "chat_with_tools", [], "Weather?", tool_required=True)
    assert wire.body.keys() == {"model", "messages"}


@pytest.mark.parametrize("chats", [True, False])
async def test_nothing_is_sent_that_was_not_set(way: Way, chats: bool) -> None:
    wire = Wire(answer() if chats else text_answer())
    llm = way.llm(wire, is_chat_model=chats, context_window=1024, max_tokens=None)
    await way(llm, "complete", "A long time ago")
    said: dict[str, Any] = (
        {"messages": [{"role": "user", "content": "A long time ago"}]}
        if chats
        else {"prompt": "A long time ago"}
    )
    assert wire.body == {"model": "m", **said}


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh"])
async def test_every_effort_and_a_temperature_beside_it_are_sent(way: Way, effort: str) -> None:
    wire = Wire(answer())
    await way(way.llm(wire, reasoning_effort=effort, temperature=0.5), "chat", ASKED)
    assert (wire.body["reasoning_effort"], wire.body["temperature"]) == (effort, 0.5)


async def test_extra_fields_of_both_places_are_sent(way: Way) -> None:
    wire = Wire(answer())
    beside = {"extra_body": {"provider": {"order": ["deepseek"]}}, "seed": 7}
    llm = way.llm(wire, extra_body={"thinking": {"type": "disabled"}}, additional_kwargs=beside)
    await way(llm, "chat", ASKED)
    assert wire.body["provider"] == {"order": ["deepseek"]}
    assert wire.body["thinking"] == {"type": "disabled"}
    assert wire.body["seed"] == 7
    assert "extra_body" not in wire.body


@pytest.mark.parametrize(
    ("output_cls", "name", "description"),
    [(Box[int], "Box_int", None), (Plain, "Plain", "A number of things.")],
)
async def test_a_class_has_a_name_that_providers_take(
    way: Way, output_cls: Any, name: str, description: str | None
) -> None:
    field = next(iter(output_cls.model_fields))
    wire = Wire(answer(json.dumps({field: 1})))
    llm = way.llm(wire)
    prompt = PromptTemplate("How many {things}?")
    kwargs = {"temperature": 0.5, "tool_choice": "auto"}
    result = await way(
        llm, "structured_predict", output_cls, prompt, llm_kwargs=kwargs, things="apples"
    )
    assert result == output_cls(**{field: 1})
    wanted = wire.body["response_format"]["json_schema"]
    assert (wanted["name"], wanted.get("description")) == (name, description)
    assert wire.body["temperature"] == 0.5
    assert "tool_choice" not in wire.body
    assert wire.body["messages"] == [{"role": "user", "content": "How many apples?"}]


async def test_without_schemas_the_tool_is_forced(way: Way) -> None:
    call = tool_call("c1", "Plain", '{"count": 3}')
    wire = Wire(answer({"content": None, "tool_calls": [call]}, "tool_calls"))
    llm = way.llm(wire, structured_output="function_calling")
    assert await way(llm, "structured_predict", Plain, PromptTemplate("?")) == Plain(count=3)
    assert wire.body["tool_choice"] == {"type": "function", "function": {"name": "Plain"}}


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
async def test_a_client_of_the_users_own_carries_the_request(way: Way, method: str) -> None:
    wire = Wire(stream(delta("Hi"), delta(finish="stop")) if "stream" in method else answer("Hi"))
    transport, headers = httpx.MockTransport(wire), {"x-mark": "mine"}
    llm = Lunos(
        "m",
        api_key=KEY,
        api_base="https://lunos.test/v1",
        http_client=httpx.Client(transport=transport, headers=headers),
        async_http_client=httpx.AsyncClient(transport=transport, headers=headers),
    )
    result = await way(llm, method, ASKED)
    assert (result[-1] if isinstance(result, list) else result).message.content == "Hi"
    assert wire.request.headers["x-mark"] == "mine"
    assert wire.request.headers["authorization"] == f"Bearer {KEY}"


async def test_no_client_needs_to_be_given(way: Way, gateway: LocalGateway) -> None:
    llm = Lunos("lunos/scripted", api_key=gateway.api_key, api_base=gateway.base_url)
    assert "Weather in Boston?" in (await way(llm, "chat", ASKED)).message.content
    await way(llm, "close")


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
async def test_a_rate_limit_is_retried_after_the_servers_delay(way: Way, method: str) -> None:
    no = reply({"error": {"message": "slow down"}}, 429, Retry_After="0")
    good = stream(delta("Hi"), delta(finish="stop")) if "stream" in method else answer("Hi")
    wire = Wire(no, no, good)
    result = await way(way.llm(wire, max_retries=2), method, ASKED)
    assert (result[-1] if isinstance(result, list) else result).message.content == "Hi"
    assert len(wire.requests) == 3
    wire = Wire(no)
    with pytest.raises(LunosRateLimitError, match="slow down"):
        await way(way.llm(wire, max_retries=2), method, ASKED)
    assert len(wire.requests) == 3


def test_settings_are_in_its_dict() -> None:
    llm = Lunos("stub.gguf", api_key=KEY, is_chat_model=True, max_tokens=42, context_window=43)
    written = llm.to_dict()
    kept = {name: written[name] for name in ("model", "is_chat_model", "max_tokens")}
    assert kept == {"model": "stub.gguf", "is_chat_model": True, "max_tokens": 42}
    assert (llm.metadata.model_name, llm.metadata.context_window) == ("stub.gguf", 43)
    assert written["context_window"] == 43
    assert KEY not in json.dumps(written)
