"""Arguments and files that can't be used: one line names them, and nothing is paid."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lunos_cli.commands import lunos
from lunos_local import LocalGateway
from tests.cli.test_trouble import COMMAND


def run(*arguments: str, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(lunos, arguments, input=input)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.png").touch()
    Path("lines.txt").write_text("one\ntwo\n")
    Path("binary.json").write_bytes(b"\xeb\xfe\x00")
    Path("cut.json").write_text('{"type": ')
    Path("list.json").write_text("[1]")
    Path("rows.csv").write_text("id,text\n1,hi\n")
    Path("broken_module.py").write_text("1 / 0\n")
    Path("choosy_module.py").write_text("raise ValueError('no such backend')\n")
    Path("nowhere").symlink_to("none/out")
    Path("shapes.py").write_text(
        "from pydantic import BaseModel\n\nclass Number(BaseModel):\n    n: int\n\nanswer = 42\n"
    )


SCHEMAS = [
    ("cut.json", "cut.json isn't valid JSON"),
    ("binary.json", "binary.json isn't valid JSON"),
    ("list.json", "list.json is neither a JSON object nor a pydantic model"),
    ("none.json", "'none.json': No such file"),
    ("folder", "'folder': Is a directory"),
    ("", "'': No such file"),
    ("{", "isn't valid JSON"),
    ("shapes:Missing", "shapes:Missing is neither"),
    ("shapes:answer", "shapes:answer is neither"),
    ("no_such_module:Model", "no_such_module can't be imported"),
    ("broken_module:Model", "broken_module can't be imported: division by zero"),
    (":Model", "':Model': No such file"),
    ("choosy_module:Model", "choosy_module can't be imported: no such backend"),
]


@pytest.mark.parametrize(("schema", "said"), SCHEMAS)
@pytest.mark.parametrize("command", ["ask", "bulk extract"])
def test_a_schema_that_cannot_be_used_is_named_and_nothing_is_paid(
    service: LocalGateway, command: str, schema: str, said: str
) -> None:
    words = ["ask", "hi"]
    if command != "ask":
        pytest.importorskip("pyarrow")
        words = ["bulk", "extract", "rows.csv", "out", "--prompt", "{text}"]
    refused(service, [*words, "--schema", schema], said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", ""], "nothing to ask"),
        (["ask", "  "], "nothing to ask"),
        (["ask", "x", "-i", "folder"], "'folder' is a directory"),
        (["ask", "x", "-i", "lines.txt"], "lines.txt isn't an image by its name"),
        (["ask", "x", "-i", "empty.png"], "empty.png is empty"),
        (["ask", "x", "-f", "empty.png"], "empty.png is empty"),
        (["ask", "x", "-i", ""], "'-i' / '--image': File '' does not exist"),
        (["ask", "x", "-i", "shapes.py"], "'-i' / '--image': shapes.py isn't an image"),
        (["ask", "x", "-f", "binary.json"], "binary.json is neither an image, nor a PDF"),
        (["compare", " ", "-m", "openai/gpt-4o"], "PROMPT is empty"),
        (["embed", "folder"], "Is a directory"),
        (["embed", ""], "FILE"),
        (["embed", "lines.txt", "-o", "lines.txt"], "lines.txt would be overwritten"),
        (["embed", "lines.txt", "-o", "folder/../lines.txt"], "would be overwritten"),
        (["embed", "lines.txt", "-o", ""], "No such file"),
        (["embed", "lines.txt", "-o", "nowhere"], "none/out': No such file"),
        (["embed", "-"], "stdin has no text to embed"),
        (["embed", "lines.txt", "-o", "/proc/none"], "/proc/none"),
        (["models", "--max-input-price", "-1"], "--max-input-price"),
        (["models", "--max-output-price", "cheap"], "--max-output-price"),
        (["models", "--min-context", "-5"], "--min-context"),
        (["usage", ""], "FILE"),
        (["usage", "folder"], "FILE"),
        (["usage", "binary.json"], "binary.json isn't a file that a UsageLedger has written"),
        (["dashboard", ""], "FILE"),
        (["dashboard", "lines.txt"], "lines.txt isn't a usage store: LUNOS_USAGE_DB makes one"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_paid(
    service: LocalGateway, arguments: list[str], said: str
) -> None:
    refused(service, arguments, said)


def refused(service: LocalGateway, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert "Errno" not in line
    assert [request for request in service.requests() if request["method"] == "POST"] == []
    assert Path("lines.txt").read_text() == "one\ntwo\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--gguf none.gguf --port 0", "none.gguf isn't a GGUF model file"),
        ("--gguf folder --port 0", "folder isn't a GGUF model file"),
        ("--gguf binary.json --port 0", "binary.json isn't a GGUF model file"),
        ("--api-key-file none --port 0", "'none': No such file"),
        ("--api-key-file folder --port 0", "'folder': Is a directory"),
        (
            "--api-key-file binary.json --port 0",
            "binary.json is empty or binary; it must",
        ),
        ("--host 256.1.1.1", "cannot listen on 256.1.1.1:8484"),
        ("--host none.invalid", "; is --host right?"),
        ("--host 192.0.2.1", "; is --host right?"),
        (["--host", ""], "argument --host: expected an address"),
        ("--port 99999", "ports end at 65535; --port 0 takes a free port"),
        ("--alias a=none --port 0", "the alias 'a' names 'none'"),
    ],
)
def test_a_gateway_that_cannot_start_says_why_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: str | list[str], said: str
) -> None:
    from lunos_local.__main__ import main

    words = arguments.split() if isinstance(arguments, str) else arguments
    try:
        code: object = main(words, prog="lunos local")
    except SystemExit as end:
        code = end.code
    (line,) = capsys.readouterr().err.splitlines()
    assert (code in (1, 2), line.startswith("lunos local: "), said in line) == (True, True, True)


def test_ctrl_c_while_the_command_is_imported_prints_no_traceback() -> None:
    code = (
        "import os, signal, sys\n"
        "class Presses:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'lunos_cli.commands':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Presses())\n"
        "from lunos_cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_a_window_without_a_budget_is_refused(service: LocalGateway) -> None:
    pytest.importorskip("pyarrow")
    refused(service, ["bulk", "embed", "rows.csv", "out", "--per", "hour"], "give both")


def test_bulk_work_prints_one_line_into_a_pipe(service: LocalGateway) -> None:
    pytest.importorskip("pyarrow")
    done = shell("lunos bulk embed rows.csv out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)


def test_a_pydantic_model_of_the_users_folder_is_a_schema_too(service: LocalGateway) -> None:
    code = (
        "import sys\nsys.path.remove('')\nfrom lunos_cli import main\nmain()"  # as `lunos` begins
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "ask", "take 7", "--schema", "shapes:Number"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, '{"n": 7}\n'), done.stderr


def test_stdin_that_isnt_text_is_refused_before_it_is_paid(service: LocalGateway) -> None:
    done = run("ask", "What is this?", input=b"\x89PNG\xff\x00")
    assert (done.exit_code, service.requests()) == (1, [])
    assert done.stderr == "Error: stdin isn't text in UTF-8: `lunos ask -f` sends images and PDFs\n"


@pytest.mark.parametrize(
    "command",
    [
        "lunos ask \"$(printf 'caf\\351')\"",
        "lunos ask hi -s \"$(printf 'caf\\351')\"",
        "lunos demo \"$(printf 'caf\\351')\"",
        "lunos compare -m lunos/scripted \"$(printf 'caf\\351')\"",
        "printf 'caf\\351 {text}\\n/quit\\n' | lunos chat",
        # as Python reads in en_US.UTF-8; C.UTF-8 lets such bytes pass
        "printf 'caf\\351\\n/quit\\n' | PYTHONIOENCODING=utf-8:strict lunos chat",
    ],
)
def test_a_prompt_that_isnt_text_is_refused_before_it_is_paid(
    service: LocalGateway, command: str
) -> None:
    done = shell(command)
    assert (done.returncode, service.requests()) == (2, [])
    assert "it isn't text in UTF-8 (see lunos " in done.stderr.splitlines()[-1]


def test_the_file_of_an_output_may_be_a_link_to_one_that_is_not_there_yet(
    service: LocalGateway,
) -> None:
    Path("link").symlink_to("folder/new")
    done = run("embed", "lines.txt", "-o", "link")
    assert done.exit_code == 0, done.output
    assert len(Path("folder/new").read_text().splitlines()) == 2


def test_models_are_compared_by_a_text_that_is_piped_too(service: LocalGateway) -> None:
    done = run("compare", "What", "changed?", "-m", "openai/gpt-4o", input="a diff\n")
    assert "Scripted answer to: What changed?\n\na diff\n" in done.stdout
    done = run("compare", "-m", "openai/gpt-4o", input=b"caf\xe9")
    assert (done.exit_code, "stdin isn't text in UTF-8" in done.stderr) == (1, True)
    assert len(service.requests()) == 1


def test_an_image_that_a_compared_model_draws_is_kept(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "folder"))
    done = run("compare", "a cat", "-m", "lunos/scripted-image")
    (file,) = (tmp_path / "folder").iterdir()
    assert f"image: {file}" in done.stdout


def test_a_search_without_results_says_so_in_a_pipe_too(service: LocalGateway) -> None:
    done = run("models", "no-such-model")
    assert (done.exit_code, done.stderr) == (0, "0 models\n")


def test_one_of_a_thing_is_not_called_several(service: LocalGateway) -> None:
    Path("one.txt").write_text("one\n")
    assert ": 1 text, 1 token, " in run("embed", "one.txt").stderr


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("lunos", " ".join(COMMAND), 1)
    assigned = " ".join(f"{name}={value}" for name, value in environment.items())
    return subprocess.run(
        ["sh", "-c", f"{assigned} {line}"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_an_answer_that_the_terminals_encoding_lacks_is_not_lost(service: LocalGateway) -> None:
    done = shell("lunos compare '日本' -m openai/gpt-4o", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "Scripted answer to: \\u65e5\\u672c" in done.stdout


@pytest.mark.parametrize(
    "command", ["lunos embed lines.txt -o /dev/full", "lunos models >/dev/full"]
)
def test_a_full_disk_is_one_line(service: LocalGateway, command: str) -> None:
    done = shell(command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("No space left on device")
    assert ("/dev/full: " in line) == ("-o" in command)


def test_a_plain_http_address_is_warned_of_in_one_line() -> None:
    environment = {"LUNOS_BASE_URL": "http://nope.invalid/v1", "LUNOS_API_KEY": "k"}
    done = shell("lunos balance", **environment)
    warning, error = done.stderr.splitlines()
    assert warning.startswith("Warning: base_url is http://nope.invalid: the API key")
    assert error.startswith("Error: nothing answers at http://nope.invalid/v1")
