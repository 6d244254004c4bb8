"""The cookbook is true: its pages show the files as they are, and the outputs below them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lunos_local import LocalGateway
from tests.documentation.example_runs import ROOT, RunExample, run_example
from tests.documentation.markdown_blocks import matches

__all__ = ["run_example"]

pytest.importorskip("pypdf")
pytest.importorskip("langchain")

FOLDER = ROOT / "examples" / "cookbook"
PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "cookbook").glob("*.md")}
_SHOWN = re.compile(r"^```bash\npython (examples/\S+\.py)\n```\n\n```text\n(.*?)^```", re.M | re.S)
SHOWN = dict(match for page in PAGES.values() for match in _SHOWN.findall(page))
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


@pytest.fixture
def run_program(
    run_example: RunExample, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> RunExample:
    """Run a program with a key and a base URL set, as the cookbook says."""
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)
    monkeypatch.syspath_prepend(str(FOLDER))
    return run_example


def console(page: str) -> list[str]:
    """Return the lines of a page's console block."""
    (block,) = _CONSOLE.findall(PAGES[page])
    return block.splitlines()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.parametrize("path", SHOWN)
def test_a_program_prints_what_its_page_shows(run_program: RunExample, path: str) -> None:
    try:
        printed, complained = run_program(path)
    finally:
        for image in (ROOT / "images").glob("*.png"):  # of media.py
            image.unlink()
            image.parent.rmdir()
    assert matches(SHOWN[path], printed), printed
    assert complained == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rag_langchain.py", "no PDF or Markdown files in "),
        ("rag_llamaindex.py", "No files found in "),
    ],
)
def test_an_empty_folder_is_named_before_anything_is_asked(
    run_program: RunExample, tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises((SystemExit, ValueError), match=f"{says}{re.escape(str(tmp_path))}"):
        run_program(f"examples/cookbook/{name}", str(tmp_path))


def test_every_file_is_shown_whole_on_a_page() -> None:
    shown = re.findall(r'{% include "\.\./\.\./(examples/[^"]+)" %}', "".join(PAGES.values()))
    for path in sorted(FOLDER.glob("*.py")):
        assert path.relative_to(ROOT).as_posix() in shown
    assert all((ROOT / path).is_file() for path in shown)


def test_every_program_is_tried() -> None:
    tried = {Path(path).name for path in SHOWN}
    others = {"chatbot.py", "embed_many.py", "tenants.py", "invoices.py"}  # below, or no program
    assert {path.name for path in FOLDER.glob("*.py")} == tried | others


def test_the_chatbot_remembers_also_after_it_was_closed(
    run_program: RunExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *lines = console("chatbot")
    said = [line.removeprefix("> ") for line in lines[::2]]
    answers = lines[1::2]
    for question, answer in zip(said, answers, strict=True):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{question}\n"))
        printed, _ = run_program("examples/cookbook/chatbot.py", str(tmp_path / "memory.json"))
        assert printed == f"> {answer}\n> "


def test_the_chatbot_forgets_a_question_that_failed(
    run_program: RunExample,
    gateway: LocalGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway.fail("400", times=1)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\nHello again\n"))
    printed, _ = run_program("examples/cookbook/chatbot.py", str(tmp_path / "memory.json"))
    assert "(no answer: " in printed
    asked = [message["content"] for message in gateway.requests()[-1]["body"]["messages"]]
    assert asked[1:] == ["Hello again"]


@pytest.mark.parametrize("text", ["{", "7", '{"a": 1}', '[{"type": "x", "data": {}}]'])
def test_the_chatbot_names_a_file_that_is_no_conversation(
    run_program: RunExample, tmp_path: Path, text: str
) -> None:
    (tmp_path / "memory.json").write_text(text)
    with pytest.raises(SystemExit, match=r"memory\.json isn't a conversation"):
        run_program("examples/cookbook/chatbot.py", str(tmp_path / "memory.json"))


@pytest.mark.slow
def test_embeddings_continue_where_they_stopped(run_program: RunExample, tmp_path: Path) -> None:
    target = tmp_path / "vectors.jsonl"
    shown = [line for line in console("embeddings") if line[0] not in "$1"]
    first, again = shown[:2], shown[2:]
    printed, bar = run_program("examples/cookbook/embed_many.py", str(target))
    assert printed.splitlines() == first
    assert "5000/5000" in bar
    assert len(target.read_text().splitlines()) == 5000
    printed, _ = run_program("examples/cookbook/embed_many.py", str(target))
    assert printed.splitlines() == again
    # cut after 300 lines, and one more in half: as a killed run leaves it
    lines = target.read_text().splitlines(keepends=True)
    target.write_text("".join(lines[:300]) + lines[300][:40])
    printed, _ = run_program("examples/cookbook/embed_many.py", str(target))
    assert printed.startswith("5000 vectors in vectors.jsonl, 300 of them from before\n")
    assert target.read_text() == "".join(lines)


def test_each_tenant_pays_for_its_own_calls(
    run_program: RunExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    monkeypatch.delitem(sys.modules, "tenants", raising=False)
    import tenants

    _, _, answer, _, costs = console("tenants")
    with testclient.TestClient(tenants.app) as client:

        def chat(key: str) -> Any:
            return client.post("/chat", json={"text": "Hello"}, headers={"X-Tenant-Key": key})

        assert chat("key-of-acme").text == answer
        assert client.get("/costs").text == costs
        assert chat("key-of-globex").status_code == 200
        assert chat("unknown").status_code == 401
        used = {row["app_id"]: row["calls"] for row in client.get("/costs").json()}
    assert used == {"tenant-acme": 1, "tenant-globex": 1}


def test_the_customer_sees_that_a_stream_broke(
    run_program: RunExample, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    monkeypatch.delitem(sys.modules, "tenants", raising=False)
    import tenants

    gateway.fail("cut-stream", times=1)
    with testclient.TestClient(tenants.app) as client:
        headers = {"X-Tenant-Key": "key-of-acme"}
        text = client.post("/chat", json={"text": "Hello"}, headers=headers).text
    assert text.endswith("[the answer broke off: LunosStreamInterruptedError]")


@pytest.mark.slow
def test_own_files_and_questions_are_taken(gateway: LocalGateway, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Cats\n\nMia is a cat. She is four. She eats fish.\n")
    service = {"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url}
    for name in ("rag_langchain.py", "rag_llamaindex.py"):
        done = subprocess.run(
            [sys.executable, str(FOLDER / name), str(tmp_path), "What does Mia eat?"],
            env={**os.environ, **service},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "fish" in done.stdout
        assert "[1] notes.md" in done.stdout
