"""Recording: repeating it changes nothing, no key gets in, and a manipulated cassette fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from scripts.cassette_differences import differences

pytestmark = pytest.mark.slow  # each of its sessions runs this folder's tests again

HERE = Path(__file__).parent
CASSETTES = HERE.parents[1] / "cassettes"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
KEY = "sk-live-0f3c55aa91"


# Run pytest several times in one process, which imports the frameworks once. The tests' own
# modules are imported anew each time, since they read the environment then.
DRIVER = """
import contextlib, io, json, os, sys
import pytest
clean, results = dict(os.environ), {}
for name, (arguments, environment) in json.load(sys.stdin).items():
    os.environ.clear()
    os.environ.update(clean | environment)
    for module in [module for module in sys.modules if module.partition(".")[0] == "tests"]:
        del sys.modules[module]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        # what tests that fail leave open is no failure of the driver
        off = [f"-pno:{name}" for name in ("cacheprovider", "xdist", "unraisableexception")]
        status = pytest.main(["-q", *off, *arguments])
    results[name] = [int(status), output.getvalue()]
print(json.dumps(results))
"""


@dataclass
class Sessions:
    """The runs of pytest on this folder's tests: exit status and output of each, by its name."""

    folder: Path
    done: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    folder = tmp_path_factory.mktemp("sessions")
    recorded = [str(path) for path in sorted(HERE.glob("test_recorded_*.py"))]
    rules, core = "tests/cassettes/test_cassette_rules.py", "tests/cassettes/test_recorded_core.py"
    with indiscreet_service() as url:
        live_chats, live_root = [*recorded, "-k", "test_chat and not stream"], str(folder / "live")
        live = {"LUNOS_API_KEY": KEY, "LUNOS_BASE_URL": url}
        wanted = {
            "again": ([*recorded, "--record-mode=rewrite"], {}),
            "live": ([*live_chats, "--record-mode=rewrite"], live),
            # the recording, kept and played again without a word about it
            "live kept": (live_chats, {"LUNOS_KEEP_CAME": "1", "LUNOS_CASSETTE_ROOT": live_root}),
            "live played": (live_chats, {"LUNOS_CASSETTE_ROOT": live_root}),
            "a key": ([rules], {}),
            "not played": ([core, "-k", "test_chat and sync"], {}),
            **edited_copies(folder),
        }
        spoil(folder / "a key", "Bearer SCRUBBED", f"Bearer {KEY}")
        add_an_interaction(folder / "not played")
        runs = {
            name: (arguments, {"LUNOS_CASSETTE_ROOT": str(folder / name)} | environment)
            for name, (arguments, environment) in wanted.items()
        }
        process = subprocess.run(
            [sys.executable, "-c", DRIVER],
            input=json.dumps(runs),
            cwd=HERE.parents[1],
            env=CLEAN,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert process.returncode == 0, process.stderr
    return Sessions(folder, json.loads(process.stdout.splitlines()[-1]))


def texts_in(root: Path) -> dict[str, str]:
    """Return the text of each cassette in the folders that `tests/cassettes` records."""
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in root.glob("*/test_recorded_*/*.yaml")
    }


def test_recording_again_changes_nothing(sessions: Sessions) -> None:
    status, output = sessions.done["again"]
    assert status == 0, output
    # the gateway's server takes its reason phrases from Python, and 3.13 has a new one
    phrase = f"message: {HTTPStatus(422).phrase}\n"
    again = {
        name: text.replace(phrase, "message: Unprocessable Entity\n")
        for name, text in texts_in(sessions.folder / "again").items()
    }
    assert again == texts_in(CASSETTES)


@contextmanager
def indiscreet_service() -> Iterator[str]:
    """Run a service that repeats the key in its answers and headers; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            key = self.headers["authorization"].removeprefix("Bearer ")
            message = {"role": "assistant", "content": f"Your key is {key}."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("x-request-id", "req-1")
            self.send_header("set-cookie", "session=a-cookie-of-the-account")
            self.send_header("x-seen-key", key)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_with_a_key_it_records_into_a_folder_of_its_own_and_scrubs(sessions: Sessions) -> None:
    root = sessions.folder / "live"
    written = {path.relative_to(root).as_posix(): path for path in root.rglob("*.*")}
    assert set(written) == {
        "live/came.json",
        "live/models.json",
        *(
            f"live/{name}/test_recorded_{name}/test_chat.yaml"
            for name in ("core", "langchain", "llama_index")
        ),
    }, sessions.done["live"]
    for path in written.values():
        text = path.read_text("utf-8")
        if path.suffix == ".yaml":
            assert "Your key is SCRUBBED." in text
            assert "Bearer SCRUBBED" in text
        for secret in (KEY, "a-cookie-of-the-account", "x-seen-key", "set-cookie", "user-agent"):
            assert secret not in text


def test_what_was_recorded_live_is_played_in_place_of_ours(sessions: Sessions) -> None:
    for name in ("live kept", "live played"):
        status, output = sessions.done[name]
        assert status == 0, output
        assert "6 passed" in output


def test_differences_from_the_stand_in_are_shown(tmp_path: Path) -> None:
    shutil.copytree(CASSETTES / "core", tmp_path / "core")
    for name in ("test_chat", "test_chat_stream", "test_embeddings"):
        source = tmp_path / f"core/test_recorded_core/{name}.yaml"
        live = tmp_path / f"live/core/test_recorded_core/{name}.yaml"
        live.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text("utf-8").replace("data: [DONE]", ": end")
        live.write_text(text.replace('"cost":0.0', '"credits":"0"').replace("local", "eu"), "utf-8")
    found = differences(tmp_path)
    folder = "core/test_recorded_core"
    assert found[f"{folder}/test_chat.yaml"] == [
        "- POST /v1/chat/completions: usage.cost: float",
        "+ POST /v1/chat/completions: usage.credits: str",
    ]
    assert found[f"{folder}/test_chat_stream.yaml"] == ["- POST /v1/chat/completions: [DONE]"]


CHAT = "core/test_recorded_core/test_chat.yaml"


def spoil(root: Path, old: str, new: str, cassette: str = CHAT) -> None:
    """Copy all cassettes, with one change in one of them."""
    if not root.exists():
        shutil.copytree(CASSETTES, root)
    text = (root / cassette).read_text("utf-8")
    assert old in text
    (root / cassette).write_text(text.replace(old, new, 1), "utf-8")


_LATER = '"model": "lunos/scripted", "provider": "local", "choices": [{"index": 0, "delta": {}'
_THREE, _LENGTH = '"prompt_tokens":3', '"finish_reason":"length"'

# what an answer says, edited by hand: adapter, test, text, other text
EDITS = {
    "text": ("core", "test_chat", '"content":"Scripted', '"content":"Scribbled'),
    "usage": ("core", "test_chat", '"completion_tokens":12', '"completion_tokens":13'),
    "price": ("core", "test_chat", '"cost":0.0', '"cost":0.5'),
    "finish": ("core", "test_chat", '"finish_reason":"stop"', '"finish_reason":"length"'),
    "id": ("core", "test_chat", '"id":"chatcmpl-', '"id":"chatcmpl-0'),
    "stream": ("core", "test_chat_stream", '"content": " answer', '"content": " reply'),
    "a later chunk's model": ("core", "test_chat_stream", _LATER, _LATER.replace("scr", "Scr")),
    "vector": ("core", "test_embeddings", '"embedding":"yfH8', '"embedding":"yfH9'),
    "vector's index": ("core", "test_embeddings", '"index":2', '"index":3'),
    "argument": ("core", "test_tool_call_stream", "Os", "Us"),
    "call's id": ("core", "test_tool_call_stream", '"id": "call_', '"id": "call_0'),
    "image": ("core", "test_image_bytes", "CUjE3+4y3w", "CUjE3+4y3x"),
    "image's address": ("core", "test_image_url", "23906c4e", "23906c4f"),
    "segment": ("core", "test_transcription_with_times", '" holds 844', '" holds 845'),
    "segment's time": ("core", "test_transcription_with_times", '"end":0.08', '"end":0.09'),
    "model of the catalog": ("core", "test_models", '"input":5e-07', '"input":6e-07'),
    "error": ("core", "test_wrong_key", '"error":"', '"error":"Oh: '),
    "error in a stream": ("core", "test_error_in_stream", '"message": "', '"message": "Oh: '),
    "partial answer": ("core", "test_stopped_stream", '"content": "', '"content": "Oh: '),
    "LangChain's text": ("langchain", "test_chat", '"content":"Scripted', '"content":"Scrib'),
    "a completion's usage": ("langchain", "test_completion", '"prompt_tokens":2', _THREE),
    "a completion's end": ("langchain", "test_completion_stream", '"stop"', '"length"'),
    "LangChain's vector": ("langchain", "test_embeddings", '"embedding":"', '"embedding":"AAAA'),
    "a vector's price": ("langchain", "test_embeddings", '"cost":0.0', '"cost":0.5'),
    "LangChain's image": ("langchain", "test_image", "iVBORw0KGgoA", "iVBORw0KGgoB"),
    "LangChain's transcription": ("langchain", "test_transcription", '"text":"', '"text":"x'),
    "LangChain's price": ("langchain", "test_structured_output", '"cost":0.0', '"cost":0.5'),
    "LlamaIndex's text": ("llama_index", "test_chat_stream", '" answer', '" reply'),
    "LlamaIndex's end": ("llama_index", "test_completion", '"finish_reason":"stop"', _LENGTH),
    "LlamaIndex's vector": ("llama_index", "test_embeddings", "JDnZPQ", "JDnZPg"),
    "LlamaIndex's image": ("llama_index", "test_image", "iVBORw0KGgoA", "iVBORw0KGgoB"),
    "a transcription's price": ("llama_index", "test_transcription", '"cost":0.0', '"cost":0.5'),
}


def edited_copies(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Copy all cassettes with an edit in several; return runs of the tests that play those."""
    runs: dict[str, tuple[list[str], dict[str, str]]] = {}
    for adapter, test, old, new in EDITS.values():
        node = f"tests/cassettes/test_recorded_{adapter}.py::{test}"
        # one edit of a cassette for each copy
        number = next(i for i in count() if node not in runs.get(f"edited {i}", ([],))[0])
        root = folder / f"edited {number}"
        spoil(root, old, new, f"{adapter}/test_recorded_{adapter}/{test}.yaml")
        runs.setdefault(root.name, ([], {}))[0].append(node)
    return runs


@pytest.mark.parametrize("name", EDITS)
def test_an_answer_that_was_edited_fails(sessions: Sessions, name: str) -> None:
    adapter, test, *_ = EDITS[name]
    before = list(EDITS.values())[: list(EDITS).index(name)]
    number = sum(edit[:2] == (adapter, test) for edit in before)
    _, output = sessions.done[f"edited {number}"]
    node = re.escape(f"tests/cassettes/test_recorded_{adapter}.py::{test}")
    ended = set(re.findall(rf"^(?:FAILED|ERROR) {node}\[(a?sync)\]", output, re.MULTILINE))
    assert ended == {"sync", "async"}, output


def add_an_interaction(root: Path) -> None:
    """Copy all cassettes; one of them gets a request that its test doesn't make."""
    shutil.copytree(CASSETTES, root)
    text = (root / CHAT).read_text("utf-8")
    _, interactions = text.split("interactions:\n")
    more = interactions.replace("Say ''hello''", "Say ''goodbye''", 1)
    assert more != interactions
    (root / CHAT).write_text(text + more, "utf-8")


def test_a_cassette_with_a_key_fails(sessions: Sessions) -> None:
    status, output = sessions.done["a key"]
    assert status == 1
    assert f"test_a_cassette_holds_no_key[{CHAT}]" in output


def test_an_interaction_that_is_not_played_fails(sessions: Sessions) -> None:
    status, output = sessions.done["not played"]
    assert status == 1
    assert "holds requests that the test did not make" in output
