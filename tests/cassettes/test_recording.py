"""Recording: repeating it changes nothing, no key gets in, and a manipulated cassette fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
CASSETTES = HERE.parents[1] / "cassettes"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
KEY = "sk-live-0f3c55aa91"


def pytest_with(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on this folder's tests, with the cassettes in `root`."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=HERE.parents[1],
        env={**CLEAN, "LUNOS_CASSETTE_ROOT": str(root), **env},
        capture_output=True,
        text=True,
        timeout=600,
    )


def texts_in(root: Path) -> dict[str, str]:
    """Return the text of each cassette in the folders that `tests/cassettes` records."""
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in root.glob("*/test_recorded_*/*.yaml")
    }


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    modules = [str(path) for path in sorted(HERE.glob("test_recorded_*.py"))]
    done = pytest_with(tmp_path, *modules, "--record-mode=rewrite")
    assert done.returncode == 0, done.stdout
    assert texts_in(tmp_path) == texts_in(CASSETTES)


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
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_with_a_key_it_records_into_a_folder_of_its_own_and_scrubs(tmp_path: Path) -> None:
    with indiscreet_service() as url:
        done = pytest_with(
            tmp_path,
            *(str(path) for path in sorted(HERE.glob("test_recorded_*.py"))),
            *("-k", "test_chat and not stream", "--record-mode=rewrite"),
            LUNOS_API_KEY=KEY,
            LUNOS_BASE_URL=url,
        )
    written = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert set(written) == {
        f"live/{name}/test_recorded_{name}/test_chat.yaml"
        for name in ("core", "langchain", "llama_index")
    }, done.stdout
    for path in written.values():
        text = path.read_text("utf-8")
        assert "Your key is SCRUBBED." in text
        assert "Bearer SCRUBBED" in text
        for secret in (KEY, "a-cookie-of-the-account", "x-seen-key", "set-cookie", "user-agent"):
            assert secret not in text


def spoiled(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Copy all cassettes, with one change in one of them."""
    root = tmp_path / "cassettes"
    shutil.copytree(CASSETTES, root)
    text = (root / name).read_text("utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new, 1), "utf-8")
    return root


CHAT = "core/test_recorded_core/test_chat.yaml"


def test_a_cassette_with_a_key_fails(tmp_path: Path) -> None:
    root = spoiled(tmp_path, CHAT, "Bearer SCRUBBED", f"Bearer {KEY}")
    done = pytest_with(root, "tests/cassettes/test_cassette_rules.py")
    assert done.returncode == 1
    assert f"test_a_cassette_holds_no_key[{CHAT}]" in done.stdout


def test_an_interaction_that_is_not_played_fails(tmp_path: Path) -> None:
    root = spoiled(tmp_path, CHAT, "", "")
    text = (root / CHAT).read_text("utf-8")
    _, interactions = text.split("interactions:\n")
    more = interactions.replace("Say ''hello''", "Say ''goodbye''", 1)
    assert more != interactions
    (root / CHAT).write_text(text + more, "utf-8")
    done = pytest_with(root, "tests/cassettes/test_recorded_core.py", "-k", "test_chat and sync")
    assert done.returncode == 1
    assert "holds requests that the test did not make" in done.stdout
