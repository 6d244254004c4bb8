"""What a deployment is asked, byte by byte; what its answers tell; and the report of it."""

from __future__ import annotations

import io
import json
import wave
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from lunos_core import ModelInfo, Usage
from lunos_core.compatibility.probes import NEEDED, PROBES, Probe, choose_models
from lunos_core.compatibility.report import _row, _shape, report_text

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = [{"role": "user", "content": "Use the tool: what is the weather in Rome?"}]
CITY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
ASKED: dict[str, tuple[str | None, Any]] = {
    "GET /public/models": (None, None),
    "GET /models": (None, None),
    "GET /balance": (None, None),
    "POST /chat/completions": ("chat", {"messages": HELLO, "max_tokens": 16}),
    "POST /chat/completions (streamed)": (
        "chat",
        {"messages": HELLO, "max_tokens": 16, "stream": True}
        | {"stream_options": {"include_usage": True}},
    ),
    "POST /chat/completions (tools)": (
        "chat",
        {"messages": WEATHER, "max_tokens": 64, "tools": TOOLS},
    ),
    "POST /chat/completions (json_schema)": (
        "chat",
        {"messages": WEATHER, "max_tokens": 64, "response_format": FORMAT},
    ),
    "POST /chat/completions (images)": (
        "drawing",
        {"messages": [{"role": "user", "content": "A cat, as plain as can be."}]}
        | {"modalities": ["image", "text"]},
    ),
    "POST /completions": ("chat", {"prompt": "Say hello.", "max_tokens": 16}),
    "POST /embeddings": ("embedding", {"input": ["hello"], "encoding_format": "base64"}),
    "POST /images/generations": ("image", {"prompt": "A cat, as plain as can be."}),
    "POST /audio/generations": ("speech", {"input": "Hello.", "voice": "alloy"}),
    "POST /audio/transcriptions": ("transcription", None),
}
BY_ROUTE = {probe.route: probe for probe in PROBES}


def test_each_route_is_asked_with_the_cheapest_request() -> None:
    assert list(BY_ROUTE) == list(ASKED)
    for route, (kind, body) in ASKED.items():
        probe = BY_ROUTE[route]
        assert probe.kind == kind
        request = probe.make(**({"model": "m"} if kind else {}))
        assert [request.method, request.path, request.public] == [
            *route.split()[:2],
            route == "GET /public/models",
        ]
        assert probe.path == request.path
        if body is not None:
            assert json.loads(request.body) == {"model": "m", **body}
    assert NEEDED == (("/public/models", "/models"), ("/chat/completions",), ("/embeddings",))


def test_a_second_of_silence_is_transcribed() -> None:
    body = bytes(BY_ROUTE["POST /audio/transcriptions"].make(model="m").body)
    with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as sound:
        assert sound.getparams()[:4] == (1, 2, 16_000, 16_000)
        assert sound.readframes(20_000) == bytes(32_000)


KNOWN = {
    "chat": "openai/gpt-4o-mini",
    "embedding": "openai/text-embedding-3-small",
    "image": "openai/dall-e-3",
    "drawing": "google/gemini-2.5-flash-image",
    "speech": "openai/tts-1",
    "transcription": "openai/whisper-1",
}


def test_models_are_the_well_known_ones_else_others_that_can_do_it() -> None:
    assert choose_models([], None) == KNOWN
    assert choose_models([], "acme/mine") == KNOWN | {"chat": "acme/mine"}
    capabilities = ("chat", "embeddings", "image-generation", "speech", "transcription")
    others = [ModelInfo(f"acme/{name}", capabilities=(name,)) for name in capabilities]
    # without a capability: its outputs alone say that it draws
    cheap: dict[str, Any] = {"input_price": Decimal(1), "output_price": Decimal(1)}
    others.append(ModelInfo("acme/draws", output_modalities=("text", "image"), **cheap))
    assert choose_models(others, None) == {
        "chat": "acme/chat",
        "embedding": "acme/embeddings",
        "image": "acme/image-generation",
        "drawing": "acme/draws",
        "speech": "acme/speech",
        "transcription": "acme/transcription",
    }
    known = [ModelInfo(name) for name in KNOWN.values()]
    assert choose_models([*others, *known], None) == KNOWN


PRICED = Usage(1, 2, 3, cost=0.5, cost_source="gateway")
ESTIMATED = Usage(1, 2, 3, cost=0.5, cost_source="estimate")


def answer(**facts: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"usage": None, "raw": {}, "text": "Hi", **facts})


def calls(count: int) -> list[Any]:
    return [SimpleNamespace(message=SimpleNamespace(tool_calls=(1,) * count))]


MODELS = [
    ModelInfo("a", input_price=Decimal(1), context_window=9),
    ModelInfo("b", input_price=Decimal(0)),
    ModelInfo("c"),
]
COUNTS = ["3 models", "2 with prices", "1 with windows"]
NOTHING = ["no usage", "no cost"]
WEB, FILE = SimpleNamespace(data=None), SimpleNamespace(data=b"x", mime_type="image/png")


@pytest.mark.parametrize(
    ("route", "given", "body", "facts"),
    [
        ("GET /models", MODELS, [], ["a bare array", *COUNTS]),
        ("GET /models", MODELS, {"data": {}}, ["the reference's envelope", *COUNTS]),
        ("GET /models", MODELS, {"data": [], "object": "list"}, ["OpenAI's list", *COUNTS]),
        ("GET /public/models", MODELS, {"data": []}, ["{data: [...]}", *COUNTS]),
        ("GET /models", [], None, ["{data: [...]}", "0 models", "0 with prices", "0 with windows"]),
        ("GET /balance", answer(), {}, ["amount read"]),
        ("POST /chat/completions", answer(), {}, NOTHING),
        ("POST /completions", answer(usage=PRICED), {}, ["usage", "cost"]),
        ("POST /completions", answer(usage=ESTIMATED), {}, ["usage", "no cost"]),
        (
            "POST /chat/completions",
            answer(raw={"data": 1}, text=""),
            {},
            ["in an envelope", *NOTHING, "no text"],
        ),
        ("POST /chat/completions (streamed)", [], None, ["0 chunks", "no end"]),
        (
            "POST /chat/completions (streamed)",
            [answer(last=None), answer(last=answer()), answer(last=answer(usage=PRICED))],
            None,
            ["3 chunks", "usage", "cost"],
        ),
        (
            "POST /chat/completions (streamed)",
            [answer(last=answer()), answer(last=None)],
            None,
            ["2 chunks", *NOTHING],
        ),
        ("POST /chat/completions (tools)", answer(choices=calls(0)), {}, ["0 calls", *NOTHING]),
        ("POST /chat/completions (tools)", answer(choices=calls(1)), {}, ["1 call", *NOTHING]),
        ("POST /chat/completions (tools)", answer(choices=calls(2)), {}, ["2 calls", *NOTHING]),
        ("POST /chat/completions (json_schema)", answer(text='{"city": 1}'), {}, ["as asked"]),
        ("POST /chat/completions (json_schema)", answer(text='{"a": 1}'), {}, ["not as asked"]),
        ("POST /chat/completions (json_schema)", answer(text='["city"]'), {}, ["not as asked"]),
        ("POST /chat/completions (json_schema)", answer(text="Rome"), {}, ["not as asked"]),
        (
            "POST /embeddings",
            answer(vectors=[[1, 2]]),
            {"embedding": "AAA="},
            ["2 dimensions", "base64", *NOTHING],
        ),
        (
            "POST /embeddings",
            answer(vectors=[[1, 2, 3], [1]]),
            {"embedding": [1]},
            ["3 dimensions", "floats, where base64 was asked for", *NOTHING],
        ),
        ("POST /images/generations", answer(images=[WEB]), {}, ["a web address", *NOTHING]),
        ("POST /images/generations", answer(images=[FILE, WEB]), {}, ["image/png", *NOTHING]),
        (
            "POST /chat/completions (images)",
            answer(images=[FILE]),
            {"image_url": 1},
            ["image/png", *NOTHING, "wrapped"],
        ),
        (
            "POST /chat/completions (images)",
            answer(images=[WEB]),
            {},
            ["a web address", *NOTHING, "unwrapped"],
        ),
        (
            "POST /audio/generations",
            answer(media_type="audio/mpeg", content=bytes(1234)),
            None,
            ["audio/mpeg", "1,234 bytes"],
        ),
        ("POST /audio/transcriptions", answer(format="json"), {}, ["json", *NOTHING]),
    ],
)
def test_an_answer_leads_to_these_facts(
    route: str, given: Any, body: Any, facts: list[str]
) -> None:
    assert BY_ROUTE[route].tell(given, body) == facts


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "null"),
        (True, "bool"),
        ([1, "a"], ["int"]),
        ([], []),
        ({"a": {"b": {"c": {"d": 1}}}}, {"a": {"b": {"c": {"d": "int"}}}}),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, {"a": {"b": {"c": {"d": "dict"}}}}),
        ([[[[[1]]]]], [[[["list"]]]]),
        ({str(i): i for i in range(31)}, {str(i): "int" for i in range(30)}),
    ],
)
def test_a_shape_has_names_and_types_and_no_value(value: Any, shape: Any) -> None:
    assert _shape(value, 4) == shape


def row(route: str, result: str = "works", **more: Any) -> dict[str, Any]:
    return _row(Probe(route, None, list, lambda *_: []), None, result, **more)


def test_a_row_names_each_fact() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("model", "shape", "seconds", "cost", "error"))
    assert row("POST /x (tools)", facts=["a"]) == nothing | {
        "route": "POST /x (tools)",
        "method": "POST",
        "path": "/x",
        "feature": "tools",
        "result": "works",
        "facts": ["a"],
    }
    probe = Probe("GET /x", None, list, lambda *_: [])
    assert _row(probe, "m") == row("GET /x", "skipped") | {"model": "m"}


def test_a_report_is_text_of_80_columns() -> None:
    error = {"class": "LunosServerError", "status": 500, "code": None, "message": "word " * 60}
    rows = [
        row("GET /models", facts=["a bare array", "3 models"]),
        row("POST /chat", "missing", error=error | {"status": 404}),
        row("POST /speech", "fails", error=error),
        row("POST /images", "works"),
    ]
    report = {"base_url": "http://x", "package": "1.2", "python": "3.11", "routes": rows}
    text = report_text(report | {"is_useful": True, "cost": 0.0123456})
    head = "POST /speech  fails    "
    assert text.splitlines() == [
        "Lunos compatibility report: http://x",
        "lunos-integrations 1.2, Python 3.11",
        "",
        "GET /models   works    a bare array, 3 models",
        "POST /chat    missing  the server answered 404",
        head + "LunosServerError: " + "word " * 7 + "word",
        *[" " * len(head) + "word " * 10 + "word"] * 3,
        "POST /images  works",
        "",
        "Chat, embeddings and catalog work. Known cost: 0.012346 USD",
    ]
    assert "catalog don't all work" in report_text(report | {"is_useful": False, "cost": 0})
    rows.append(row("POST /video", "skipped"))
    text = report_text(report | {"is_useful": False, "cost": 0})
    assert "\nPOST /video   skipped  it costs money\n" in text
    assert text.endswith(
        "\nChat, embeddings and catalog were not all tried. Known cost: 0.000000 USD"
    )
