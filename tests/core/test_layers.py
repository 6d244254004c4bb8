"""What may import what, work without orjson, and answers that nobody foresaw."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lunos_core
from lunos_core import LunosError
from lunos_core.endpoints.chat.requests import parse_chat
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.embeddings import parse_embeddings
from lunos_core.errors import LunosAPIError
from lunos_core.request import Reply
from lunos_core.wire.error_bodies import error_from_response
from tests.core.wire_samples import FOLDER, stored

PACKAGE = Path(lunos_core.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOT = Path(lunos_core.__file__).parent.parent


def imported_at_run_time(source: Path) -> set[str]:
    """The top-level packages that a module imports, `if TYPE_CHECKING:` blocks left out."""
    result: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            result.update(name.name.split(".")[0] for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            result.add(node.module.split(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source.read_text(encoding="utf-8")))
    return result


KNOW_HTTPX = {
    f"transport/{name}"
    for name in (
        "aiohttp",
        "client",
        "exchange",
        "httpx_errors",
        "httpx_messages",
        "pool",
    )
}


def test_few_modules_know_httpx_and_no_other_library_is_needed() -> None:
    by_module = {
        source.relative_to(ROOT / "lunos_core").with_suffix("").as_posix(): imported_at_run_time(
            source
        )
        for source in SOURCES
    }
    assert {name for name, result in by_module.items() if "httpx" in result} == KNOW_HTTPX
    allowed = {*sys.stdlib_module_names, "lunos_core"}
    others = {name: result - allowed for name, result in by_module.items() if result - allowed}
    assert others == {
        **{name: {"httpx"} for name in KNOW_HTTPX},
        "transport/aiohttp": {"httpx", "aiohttp", "httpx_aiohttp"},
        "transport/pool": {"httpx", "httpcore", "anyio"},  # httpx needs both anyway
        "wire/json": {"orjson"},
        "endpoints/embedding_arrays": {"numpy"},
    }


def in_a_new_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_core_imports_neither_httpx_nor_a_framework() -> None:
    code = (
        "import sys, lunos_core, lunos_core.errors\n"
        "print([m for m in ('httpx', 'anyio', 'langchain_core', 'llama_index', 'starlette') "
        "if m in sys.modules])"
    )
    assert in_a_new_process(code) == "[]"
    code = (
        "import sys\n"
        "for m in ('langchain_core', 'llama_index', 'langchain', 'starlette'):\n"
        "    sys.modules[m] = None\n"
        "from lunos_core import *\n"
        "Lunos('k'); AsyncLunos('k'); print('httpx' in sys.modules)"
    )
    assert in_a_new_process(code) == "True"


def test_every_public_name_exists() -> None:
    for name in lunos_core.__all__:
        assert getattr(lunos_core, name) is not None
        assert name in dir(lunos_core)
    with pytest.raises(AttributeError, match="nothing"):
        lunos_core.nothing  # noqa: B018


SAMPLES = r"""
import sys
if {blocked}:
    sys.modules["orjson"] = None
from lunos_core import chat_request
from lunos_core.wire import json as _json
from lunos_core.request import Reply
from lunos_core.endpoints.chat.requests import parse_chat
assert (_json.orjson is None) == {blocked}

def tried(call, *args):
    try:
        return repr(call(*args))
    except (ValueError, TypeError) as error:
        return "ValueError" if isinstance(error, ValueError) else "TypeError"

nan = float("nan")
for value in ({{"a": "\u2028\u00fc\x00\"", "b": [1, 2.5, None, True]}}, {{"a": nan}},
              {{"a": [None, nan]}}, float("inf"), "\ud800", 2**70, {{1: 2}},
              object(), {{"a": {{1, 2}}}}, (1, 2), b"x"):
    print(tried(_json.dumps, value))
for text in (b'{{"a": 1}}', b"", b"{{", b"NaN", b"[Infinity]", b"\xff", b'"\\ud800"', b"[" * 5000,
             b'"\\ud83d\\ude00"', b"1e400", b"{{'a': 1}}", b"\xef\xbb\xbf1", b'{{"a": 1,}}',
             b" 1 "):
    print(tried(_json.loads, text))
message = {{"role": "user", "content": "\u00fc"}}
print(chat_request([message], model="m", temperature=0.5, seed=2**70).body)
print(parse_chat(Reply(200, {{}}, open({path!r}, "rb").read())))
"""


def test_without_orjson_the_answers_are_the_same() -> None:
    path = str(FOLDER / "chat.json")
    with_it, without = (
        in_a_new_process(SAMPLES.format(blocked=blocked, path=path)).splitlines()
        for blocked in (False, True)
    )
    assert with_it == without
    assert len(with_it) == 27


# --- answers that nobody foresaw -----------------------------------------------------------------

odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["error", "stop", "[DONE]", "tool_calls", "reasoning.text", "image_url"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["index", "id", "function", "name", "arguments", "message", "delta", "text",
                         "content", "error", "choices", "data", "type", "code", "tool_calls"]),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip

CHATS = [stored(name) for name in ("chat", "chat_envelope", "completion_envelope")]
VECTORS = [stored(name) for name in ("embeddings", "embeddings_base64")]
STREAMS = [
    [event for event in stored(path.stem)["events"] if not isinstance(event, str)]
    for path in sorted(FOLDER.glob("stream_*.json"))
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    result = [(*path, key) for key, _ in items] if isinstance(value, dict | list) else []
    for way in list(result):
        inner = value[way[-1]]
        if isinstance(inner, dict | list):
            result += places(inner, way)
    return result


def mutated(data: st.DataObject, value: Any) -> Any:
    """The value with one to three of its parts taken out or replaced."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        ways = places(value)
        if not ways:
            break
        *way, last = data.draw(st.sampled_from(ways))
        inner = value
        for key in way:
            inner = inner[key]
        if data.draw(st.booleans()) and isinstance(inner, dict):
            del inner[last]
        else:
            inner[last] = data.draw(odd)
    return value


calm = settings(suppress_health_check=[HealthCheck.too_slow])


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@calm
@given(st.data())
def test_a_mutated_chat_answer_is_read_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    value = mutated(data, data.draw(st.sampled_from(CHATS)))
    try:
        answer = parse_chat(Reply(200, {}, encoded(value)))
    except LunosError:
        return
    assert isinstance(answer.text, str)
    for choice in answer.choices:
        assert all(isinstance(call.arguments, str) for call in choice.message.tool_calls)


@calm
@given(st.data())
def test_mutated_vectors_are_read_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    value = mutated(data, data.draw(st.sampled_from(VECTORS)))
    try:
        answer = parse_embeddings(Reply(200, {}, encoded(value)), 3)
    except LunosError:
        return
    assert [len(vector) for vector in answer.vectors] == [len(answer.vectors[0])] * 3
    assert all(isinstance(item, float) for vector in answer.vectors for item in vector)


@calm
@given(st.data())
def test_a_mutated_stream_is_read_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    events = mutated(data, data.draw(st.sampled_from(STREAMS)))
    reader = ChatStreamReader(Reply(200, {}, b""))
    try:
        for event in events:
            reader.read(encoded(event))
        reader.end()
    except LunosError:
        reader.partial()


@pytest.mark.parametrize("depth", [300, 1000, 5000])
def test_an_answer_nested_without_end_is_read_or_refused_with_a_typed_error(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    call = f'{{"index": 0, "function": {{"name": "f", "arguments": {deep}}}}}'
    for name in ("delta", "message"):
        choice = f'{{"{name}": {{"tool_calls": [{call}]}}, "finish_reason": "stop"}}'
        reply = Reply(200, {}, f'{{"choices": [{choice}]}}'.encode())
        try:
            parse_chat(reply) if name == "message" else ChatStreamReader(reply).read(reply.body)
        except LunosError:
            assert depth > 300


@calm
@given(status=st.integers(300, 599), value=odd, body=st.binary(max_size=20))
def test_any_error_answer_is_a_typed_error(status: int, value: Any, body: bytes) -> None:
    for item in (encoded(value), encoded({"error": value}), body):
        error = error_from_response(status, {}, item)
        assert isinstance(error, LunosAPIError)
        assert str(error)
