"""What LlamaIndex's own `llms-openai`, `-openai-like` and `-litellm` promise of an answer.

Their public tests were read, and each promise is a case in our own words; what they promise of a
request is in `test_peers_requests.py`. These promises aren't ours:

| theirs | why not |
|---|---|
| what a model's name means: its context window, tools, schemas, API ("gpt-4", "ft:…") | \
the catalog knows; a table of names ages |
| temperature 1 and no `parallel_tool_calls` for OpenAI's reasoning models, and `reasoning_effort` \
for no others | the same: what was set is sent, and nothing else |
| arguments that aren't an object are `{}` | a tool would run with its defaults: they come under \
`INVALID_JSON` (test_tools.py) |
| thoughts and generated images aren't sent back | providers want them back (test_messages.py) |
| an image always has `detail: auto`, a call `parallel_tool_calls: true` | these are the defaults |
| text blocks are joined without a line break | they are joined as `ChatMessage.content` does |
| `max_retries` counts attempts, a date in `Retry-After` isn't read | it counts retries, and dates \
are read (core/transport/test_retries.py) |
| token counts are on the message of a text completion | they are on the response, as a chat's |
| the Responses API, `built_in_tools`, `store`, `instructions` | Lunos has no such route |
| `custom_llm_provider`, `tiktoken`, LocalAI's defaults | these are settings of their libraries |
| `http_client` may be httpx2's | left out for now, as docs/performance.md says |
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llama_index_lunos import Lunos, LunosStructuredOutputError
from tests.llama_index_adapter.wire import (
    Way,
    Wire,
    answer,
    delta,
    reply,
    stream,
    text_answer,
    text_delta,
    tool_call,
    usage_event,
)

# LlamaIndex's, where it streams objects
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

ASKED = [ChatMessage("How far is the moon?")]
FORECAST = '{"place": "Lisbon", "days": 2}'


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def forecast(place: str, days: int = 1) -> str:
    """Tell the weather of the coming days."""
    return f"{place}: {days} days of sun"


TOOL = FunctionTool.from_defaults(forecast)


def kinds(message: ChatMessage, kind: type) -> list[Any]:
    return [block for block in message.blocks if isinstance(block, kind)]


def fragment(arguments: str | None = None, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **more.pop("function", {})}
    return delta(tool_calls=[{"index": 0, "function": function, **more}])


def test_it_is_a_function_calling_llm() -> None:
    assert issubclass(Lunos, FunctionCallingLLM)
    assert Lunos.class_name() == "LunosLLM"


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": "384,400 km"}},
        {"index": 0, "message": {"content": "384,400 km", "role": None}, "logprobs": None},
    ],
)
async def test_an_answer_with_nothing_but_its_text_is_read(way: Way, choice: Any) -> None:
    llm = way.llm(Wire(reply({"choices": [choice]})))
    response = await way(llm, "chat", ASKED)
    assert (response.message.role, response.message.content) == (
        MessageRole.ASSISTANT,
        "384,400 km",
    )
    assert response.raw["usage"] is None
    assert (await way(llm, "complete", "How far?")).text == "384,400 km"


@pytest.mark.parametrize("chats", [True, False])
async def test_token_counts_are_beside_the_text(way: Way, chats: bool) -> None:
    llm = way.llm(
        Wire(answer("\n\nFar.") if chats else text_answer("\n\nFar.")), is_chat_model=chats
    )
    for response in (await way(llm, "complete", "?"), await way(llm, "chat", ASKED)):
        assert response.additional_kwargs["total_tokens"] == 18
    assert (await way(llm, "complete", "?")).text == "\n\nFar."


@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
@pytest.mark.parametrize("chats", [True, False])
async def test_a_stream_ends_with_the_whole_text_and_its_tokens(
    way: Way, chats: bool, method: str
) -> None:
    pieces = [
        delta(role="assistant", content=""),
        *(delta(piece) if chats else text_delta(piece) for piece in ("\n\n", "2")),
        delta(finish="stop") if chats else text_delta("", "stop"),
    ]
    llm = way.llm(Wire(stream(*pieces[not chats :], usage_event())), is_chat_model=chats)
    *_, last = await way(llm, method, ASKED if "chat" in method else "?")
    assert (last.message.content if "chat" in method else last.text) == "\n\n2"
    counts = {name: last.additional_kwargs[name] for name in ("prompt_tokens", "total_tokens")}
    assert counts == {"prompt_tokens": 11, "total_tokens": 18}
    if "chat" in method:
        assert last.message.role == MessageRole.ASSISTANT


async def test_a_stream_gives_each_piece_and_the_text_so_far(way: Way) -> None:
    llm = way.llm(Wire(stream(*map(delta, "123"), delta(finish="stop"))))
    responses = await way(llm, "stream_chat", ASKED)
    assert [item.delta for item in responses[:3]] == ["1", "2", "3"]
    assert [item.message.content for item in responses[:3]] == ["1", "12", "123"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_one_block_whole_and_streamed(way: Way, field: str) -> None:
    told = {"content": "42.", field: "Six by seven."}
    message = (await way(way.llm(Wire(answer(told))), "chat", ASKED)).message
    streamed = stream(
        delta(role="assistant"),
        *(delta(content=None, **{field: piece}) for piece in ("Six by", " seven.")),
        delta("42"),
        delta("."),
        delta(finish="stop"),
    )
    responses = await way(way.llm(Wire(streamed)), "stream_chat", ASKED)
    for said in (message, responses[-1].message):
        assert [block.content for block in kinds(said, ThinkingBlock)] == ["Six by seven."]
        assert [block.text for block in kinds(said, TextBlock)] == ["42."]
    shown = [item.additional_kwargs.get("thinking_delta") for item in responses]
    assert [piece for piece in shown if piece] == ["Six by", " seven."]


@pytest.mark.parametrize("streamed", [False, True])
async def test_without_reasoning_there_is_no_block_for_it(way: Way, streamed: bool) -> None:
    played = stream(delta("Far"), delta(finish="stop")) if streamed else answer("Far")
    result = await way(way.llm(Wire(played)), "stream_chat" if streamed else "chat", ASKED)
    last = result[-1] if streamed else result
    assert [type(block) for block in last.message.blocks] == [TextBlock]
    for item in result if streamed else [result]:
        assert "thinking_delta" not in item.additional_kwargs


async def test_events_without_choices_say_nothing(way: Way) -> None:
    empty = [{"id": "gen-1"}, {"choices": []}, {"choices": None}]
    llm = way.llm(Wire(stream(*empty, delta("Far"), *empty, delta(finish="stop"))))
    responses = await way(llm, "stream_chat", ASKED)
    assert [item.message.content for item in responses] == ["Far", "Far"]


@pytest.mark.parametrize("top", [None, [], "absent"])
async def test_logprobs_need_no_other_candidates(way: Way, top: Any) -> None:
    token = {"token": "Far", "logprob": -0.5, "bytes": None}
    told = token if top == "absent" else {**token, "top_logprobs": top}
    response = await way(
        way.llm(Wire(answer("Far", choice={"logprobs": {"content": [told]}}))), "chat", ASKED
    )
    assert response.logprobs == [[LogProb(token="Far", logprob=-0.5, bytes=[])]]
    bare = reply({"choices": [{"text": "Far", "logprobs": {"top_logprobs": top}}]})
    assert (await way(way.llm(Wire(bare), is_chat_model=False), "complete", "?")).logprobs is None


@pytest.mark.parametrize(
    ("arguments", "read"),
    [(FORECAST, json.loads(FORECAST)), ("{}", {}), ("null", {}), ('{"odd": 1}', {"odd": 1})],
)
async def test_a_called_tool_has_its_arguments_beside_the_words(
    way: Way, arguments: str, read: Any
) -> None:
    told = {"content": "Let me look.", "tool_calls": [tool_call("c1", "forecast", arguments)]}
    llm = way.llm(Wire(answer(told, "tool_calls")))
    response = await way(llm, "chat_with_tools", [TOOL], "Weather?")
    (call,) = llm.get_tool_calls_from_response(response, error_on_no_tool_call=True)
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c1", "forecast", read)
    assert response.message.content == "Let me look."
    (block,) = kinds(response.message, ToolCallBlock)
    (stored,) = response.message.additional_kwargs["tool_calls"]
    assert (block.tool_call_id, block.tool_name) == ("c1", "forecast")
    assert stored["function"] == {"name": "forecast", "arguments": block.tool_kwargs}


@pytest.mark.parametrize(
    "sent",
    [
        {"tool_calls": [{"function": {"name": "forecast", "arguments": FORECAST}}]},
        {"function_call": {"name": "forecast", "arguments": FORECAST}},  # before OpenAI's tools
    ],
)
async def test_a_call_without_an_id_gets_one(way: Way, sent: Any) -> None:
    llm = way.llm(Wire(answer({"content": None, **sent}, "tool_calls")))
    ids = set()
    for _ in range(2):
        response = await way(llm, "chat_with_tools", [TOOL], "Weather?")
        (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_name, call.tool_kwargs) == ("forecast", json.loads(FORECAST))
        ids.add(call.tool_id)
    assert len(ids) == 2
    assert all(ids)


async def test_a_call_is_built_from_its_pieces(way: Way) -> None:
    pieces = [
        fragment("", id="c1", type="function", function={"name": "fore"}),
        fragment("", id="c1", function={"name": "cast"}),
        fragment('{"pla', id="c1", function={"name": None}),
        fragment('ce": "Lisbon"'),
        fragment(', "days": 2}'),
        delta(finish="tool_calls"),
    ]
    tools = [TOOL.metadata.to_openai_tool()]
    llm = way.llm(Wire(stream(*pieces)))
    first, *_, last = await way(llm, "stream_chat", ASKED, tools=tools)
    (block,) = kinds(first.message, ToolCallBlock)
    assert (block.tool_call_id, block.tool_name) == ("c1", "forecast")
    assert last.message.additional_kwargs["tool_calls"] == [tool_call("c1", "forecast", FORECAST)]


async def test_calls_side_by_side_keep_their_own_arguments(way: Way) -> None:
    def both(first: str, second: str, **names: Any) -> dict[str, Any]:
        return delta(
            tool_calls=[
                {"index": i, "id": f"c{i}", "function": {"arguments": text, **names}}
                for i, text in enumerate((first, second))
            ]
        )

    played = stream(
        both("{", "{", name="forecast"),
        both('"place": "A"}', '"place": "B"}'),
        delta(finish="tool_calls"),
    )
    llm = way.llm(Wire(played))
    *_, last = await way(llm, "stream_chat", ASKED, tools=[TOOL.metadata.to_openai_tool()])
    calls = llm.get_tool_calls_from_response(last)
    assert [(call.tool_id, call.tool_kwargs["place"]) for call in calls] == [
        ("c0", "A"),
        ("c1", "B"),
    ]


@pytest.mark.parametrize("method", ["chat", "stream_chat", "complete"])
async def test_a_structured_llm_gives_the_object(way: Way, method: str) -> None:
    text = '{"name": "Ada", "age": 36}'
    played = stream(delta(text), delta(finish="stop")) if "stream" in method else answer(text)
    llm = way.llm(Wire(played)).as_structured_llm(Person)
    result = await way(llm, method, "Who?" if method == "complete" else ASKED)
    last = result[-1] if isinstance(result, list) else result
    assert last.raw == Person(name="Ada", age=36)


@pytest.mark.parametrize("said", ["", "I don't know.", "[]"])
async def test_no_object_is_an_error_and_never_none(way: Way, said: str) -> None:
    llm = way.llm(Wire(answer(said)))
    with pytest.raises(LunosStructuredOutputError, match="Person"):
        await way(llm, "structured_predict", Person, PromptTemplate("Who?"))


async def test_notes_on_the_text_are_kept(way: Way) -> None:
    note = {"type": "file_citation", "file": {"name": "moon.pdf"}}
    played = stream(delta("Far"), delta(annotations=[note]), delta(finish="stop"))
    *_, last = await way(way.llm(Wire(played)), "stream_chat", ASKED)
    assert last.message.additional_kwargs["annotations"] == [note]


async def test_a_message_with_an_object_beside_it_becomes_a_dict(way: Way) -> None:
    message = (await way(way.llm(Wire(answer("Far"))), "chat", ASKED)).message
    message.additional_kwargs["seen"] = [Person(name="Ada", age=36)]
    assert message.model_dump()["additional_kwargs"]["seen"] == [{"name": "Ada", "age": 36}]
