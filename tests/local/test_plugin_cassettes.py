"""Cassettes for users' tests: recorded once, replayed offline, without the key, and strict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from lunos_local import LocalGateway
from tests.cassettes.test_recording import indiscreet_service

pytestmark = pytest.mark.slow  # its project's tests run 16 times, each in a process

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
KEY = "sk-live-5d81c0aa94e7"

APP = """
import asyncio
import pytest
from langchain_core.prompts import ChatPromptTemplate
from llama_index.core.llms import ChatMessage
from langchain_lunos import ChatLunos, LunosEmbeddings
from llama_index_lunos import Lunos as LlamaLunos, LunosEmbedding
from lunos_core import AsyncLunos, Lunos

MODEL = "openai/gpt-4o"
HELLO = [{"role": "user", "content": "Hello"}]
pytestmark = pytest.mark.lunos_cassette

def test_core(lunos_cassette):
    with Lunos(app_id="my-app") as lunos:
        chat = lunos.chat.completions
        assert chat.create(model=MODEL, messages=HELLO).usage.cost == 6e-05
        assert "".join(c.text for c in chat.create(model=MODEL, messages=HELLO, stream=True))
        made = lunos.embeddings.create(model="openai/text-embedding-3-small", input=["a", "b"])
        assert len(made.vectors) == 2
        drawn = lunos.images.generate(model="openai/gpt-image-1", prompt="a cat", size="16x16",
                                      response_format="b64_json")
        assert drawn.images[0].data.startswith(b"\\x89PNG")
        heard = lunos.audio.transcriptions.create(model="openai/whisper-1", file=b"RIFF\\xff\\x00")
        assert heard.text
        spoken = lunos.audio.speech.create(model="openai/tts-1", input="Hello")
        assert spoken.content
        assert lunos.models.list()
    assert {r.headers.get("x-app-id") for r in lunos_cassette.requests[:2]} == {"my-app"}

@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
def test_async_core(transport):
    async def conversation():
        async with AsyncLunos(app_id="my-app", transport=transport) as lunos:
            chat = lunos.chat.completions
            whole = await chat.create(model=MODEL, messages=HELLO)
            chunks = [c.text async for c in await chat.create(
                model=MODEL, messages=HELLO, stream=True)]
            assert "".join(chunks) == whole.text == "Scripted answer to: Hello"
            again = await asyncio.gather(*(chat.create(model=MODEL, messages=HELLO) for _ in "ab"))
            assert [answer.text for answer in again] == [whole.text] * 2
    asyncio.run(conversation())

def test_langchain(lunos_cassette):
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | ChatLunos(model=MODEL)
    assert chain.invoke({"q": "Hello"}).text
    assert [a.text for a in chain.batch([{"q": "Twice"}, {"q": "Twice"}])] == [
        "Scripted answer to: Twice"] * 2
    assert "".join(chunk.text for chunk in chain.stream({"q": "Hello"}))
    async def stream():
        return [c.text async for c in ChatLunos(model=MODEL, app_id="other").astream("Hello")]
    assert "".join(asyncio.run(stream()))
    assert lunos_cassette.requests[-1].headers["x-app-id"] == "other"
    assert LunosEmbeddings(model="openai/text-embedding-3-small").embed_query("a")

@pytest.mark.lunos_cassette("llama")
@pytest.mark.parametrize("is_async", [False, True])
def test_llama_index(is_async):
    llm = LlamaLunos(MODEL, app_id="my-app")
    async def ask():
        await llm.achat([ChatMessage("Hello")])
        return [p.delta async for p in await llm.astream_chat([ChatMessage("Hello")])]
    if is_async:
        pieces = asyncio.run(ask())
    else:
        llm.chat([ChatMessage("Hello")])
        pieces = [piece.delta for piece in llm.stream_chat([ChatMessage("Hello")])]
    assert "".join(pieces)

def test_the_app_itself_is_not_recorded(lunos_cassette):
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(request):
        async with AsyncLunos() as lunos:
            answer = await lunos.chat.completions.create(model=MODEL, messages=HELLO)
        return PlainTextResponse("page: " + answer.text)

    async def get():
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", page)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return (await client.get("/")).text

    assert asyncio.run(get()).startswith("page: Scripted answer")
    (request,) = lunos_cassette.requests
    assert request.path == "/v1/chat/completions"
"""
SWALLOWS = """
from lunos_core import Lunos

def answer(text, **settings):
    with Lunos(**settings) as lunos:
        messages = [{"role": "user", "content": text}]
        return lunos.chat.completions.create(model="openai/gpt-4o", messages=messages).text

def test_swallows(lunos_cassette):
    try:
        said = answer("Hello")
    except Exception:
        said = "Sorry."
    assert said

def test_two_calls(lunos_cassette):
    assert answer("First", app_id="one")
    assert answer("Second")
"""
FAILS = """
from test_small import answer

def test_fails(lunos_cassette):
    assert answer("Hello") == "something else"
"""
# Runs pytest for each step in one process, which imports the frameworks once.
DRIVER = """
import contextlib, io, json, os, pathlib, sys
import pytest
clean, results = dict(os.environ), {}
options = ["-q", "-c", os.devnull, "--rootdir=.", "-W", "error", "--strict-markers"]
for name in ("cacheprovider", "xdist", "recording", "asyncio", "randomly", "cov"):
    options += ["-p", f"no:{name}"]
for step in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(clean | step["environment"])
    for file, old, new in step["edits"]:
        path = pathlib.Path(file)
        text = path.read_text("utf-8")
        assert old in text, (step["name"], old)
        path.write_text(text.replace(old, new), "utf-8")
    for module in ("test_app", "test_small", "test_fails"):
        sys.modules.pop(module, None)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        with contextlib.redirect_stderr(output):
            status = pytest.main([*options, *step["arguments"]])
    files = {str(path): path.read_text("utf-8") for path in pathlib.Path().rglob("*.yaml")}
    results[step["name"]] = [int(status), output.getvalue(), files]
print(json.dumps(results))
"""


@dataclass
class Run:
    """What one run of pytest gave: its exit status, its output, and the cassettes after it."""

    status: int
    output: str
    files: dict[str, str]


OFFLINE = ["--disable-socket", "--allow-unix-socket"]
SMALL = "cassettes/test_small"
CALL = "test_small.py::test_two_calls"


def step(
    name: str, *arguments: str, env: dict[str, str] | None = None, edits: object = ()
) -> dict[str, object]:
    return {"name": name, "arguments": arguments, "environment": env or {}, "edits": edits}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("project")
    for name, text in (("app", APP), ("small", SWALLOWS), ("fails", FAILS)):
        (folder / f"test_{name}.py").write_text(text, "utf-8")
    with LocalGateway(api_key=KEY) as gateway, indiscreet_service() as indiscreet:
        env = {"LUNOS_API_KEY": KEY, "LUNOS_BASE_URL": gateway.base_url}
        echo = {"LUNOS_API_KEY": KEY, "LUNOS_BASE_URL": indiscreet}
        file = "test_small.py"
        steps = [
            step("no cassette", "--lunos-replay", *OFFLINE, CALL),
            step("recorded", "test_app.py", file, env=env),
            step("failed", "test_fails.py", env=env),
            step("replayed", *OFFLINE, "test_app.py", file),
            step("replayed in CI", "--lunos-replay", *OFFLINE, "test_app.py", file),
            step("both", "--lunos-replay", "--lunos-record", file),
            step("swallowed", *OFFLINE, file, edits=[[file, '"Hello"', '"Hallo"']]),
            step("changed", *OFFLINE, CALL, edits=[[file, '"Second"', '"Third"']]),
            step("other app", *OFFLINE, CALL, edits=[
                [file, '"Third"', '"Second"'], [file, 'app_id="one"', 'app_id="two"']]),
            step("once more", *OFFLINE, CALL, edits=[
                [file, '"two")', '"one")\n    answer("First", app_id="one")']]),
            step("no longer", *OFFLINE, CALL, edits=[
                [file, '    answer("First", app_id="one")\n', ""],
                [file, '    assert answer("Second")\n', ""]]),
            step("failed again", "--lunos-record", CALL, env=env, edits=[
                [file, '"First", app_id="one")', '"New") == ""']]),
            step("renewed", "--lunos-record", CALL, env=env, edits=[[file, ' == ""', ""]]),
            step("replayed anew", *OFFLINE, CALL),
            step("indiscreet", "--lunos-record", CALL, env=echo),
            step("torn", *OFFLINE, CALL, edits=[
                [f"{SMALL}/test_two_calls.yaml", "interactions:", "<<<<<<< HEAD\ninteractions:"]]),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            input=json.dumps(steps),
            cwd=folder,
            env=CLEAN | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    return {name: Run(*result) for name, result in results.items()}


def test_the_first_run_records_and_later_runs_are_offline(runs: dict[str, Run]) -> None:
    recorded = runs["recorded"]
    assert recorded.status == 0, recorded.output
    assert "9 passed" in recorded.output
    assert sorted(name for name in recorded.files if "app" in name) == [
        "cassettes/test_app/llama.yaml",
        "cassettes/test_app/test_async_core[aiohttp].yaml",
        "cassettes/test_app/test_async_core[httpx].yaml",
        "cassettes/test_app/test_core.yaml",
        "cassettes/test_app/test_langchain.yaml",
        "cassettes/test_app/test_the_app_itself_is_not_recorded.yaml",
    ]
    for name in ("replayed", "replayed in CI"):
        assert runs[name].status == 0, runs[name].output
        assert "9 passed" in runs[name].output
        assert runs[name].files == recorded.files


def test_no_key_is_in_a_file_or_output(runs: dict[str, Run]) -> None:
    for name, run in runs.items():
        for text in (*run.files.values(), run.output):
            assert KEY not in text, name
    (echoed,) = [text for text in runs["indiscreet"].files.values() if "Your key" in text]
    assert "Your key is SCRUBBED." in echoed
    for secret in ("cookie", "x-seen-key", "user-agent"):
        assert secret not in echoed
    headers = {
        name
        for text in runs["recorded"].files.values()
        for name in re.findall(r"^ {6}([\w-]+):$", text, re.MULTILINE)
    }
    assert headers == {
        "accept",
        "authorization",
        "content-type",
        "x-app-id",
        "x-request-id",
    }


def test_without_a_cassette_a_replay_fails(runs: dict[str, Run]) -> None:
    run = runs["no cassette"]
    assert run.status == 1
    assert (
        "POST /v1/chat/completions isn't in the cassette cassettes/test_small/test_two_calls.yaml: "
        "nothing was recorded."
    ) in run.output
    assert f"To record it again: pytest '{CALL}' --lunos-record" in run.output
    assert run.files == {}


def test_a_test_that_fails_keeps_no_recording(runs: dict[str, Run]) -> None:
    assert runs["failed"].status == 1
    assert "cassettes/test_fails/test_fails.yaml isn't written" in runs["failed"].output
    assert runs["failed"].files == runs["recorded"].files
    assert runs["failed again"].status == 1
    assert runs["failed again"].files == runs["recorded"].files


def test_a_request_that_is_not_in_the_cassette_fails(runs: dict[str, Run]) -> None:
    run = runs["changed"]
    assert run.status == 1
    assert "the request body differs." in run.output
    assert re.search(r'^E +- +"content": "Second"\nE +\+ +"content": "Third"$', run.output, re.M)
    assert "the app id is 'two', not 'one'" in runs["other app"].output
    assert "it was recorded 1 time(s), and is made more often now" in runs["once more"].output
    for name in ("changed", "other app", "once more"):
        assert f"To record it again: pytest '{CALL}' --lunos-record" in runs[name].output
        assert runs[name].files == runs["recorded"].files


def test_an_app_that_catches_the_error_fails_all_the_same(runs: dict[str, Run]) -> None:
    run = runs["swallowed"]
    assert run.status == 1
    assert "1 failed, 1 passed" in run.output
    assert "isn't in the cassette cassettes/test_small/test_swallows.yaml" in run.output


def test_a_recorded_call_that_is_not_made_any_more_fails(runs: dict[str, Run]) -> None:
    run = runs["no longer"]
    assert run.status == 1
    assert (
        "holds calls that the test doesn't make any more: POST /v1/chat/completions" in run.output
    )


def test_recording_anew_replaces_the_cassette(runs: dict[str, Run]) -> None:
    assert runs["renewed"].status == 0, runs["renewed"].output
    assert runs["replayed anew"].status == 0, runs["replayed anew"].output
    text = runs["renewed"].files[f"{SMALL}/test_two_calls.yaml"]
    assert "New" in text
    assert "Second" not in text


def test_an_invalid_cassette_gives_a_clear_error(runs: dict[str, Run]) -> None:
    assert "isn't a cassette that can be read" in runs["torn"].output
    assert runs["both"].status == 4
    assert "exclude each other" in runs["both"].output
