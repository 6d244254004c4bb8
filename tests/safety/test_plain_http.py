"""`http://` to another machine is warned of: once for each origin, in the user's line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from typing import Any

import pytest

import lunos_core._plain_http as module
from lunos_core import Config, LunosPlainHTTPWarning
from lunos_core import Lunos as Core
from tests.safety import every_class
from tests.safety.every_class import CORE, EVERY

KEY = "sk-hush-0123456789"
EVERY_FILE = every_class.__file__  # where a lambda makes it
OF_PLAIN_ARGUMENTS = ("Config", "Client", "AsyncClient")  # these read no environment


@pytest.fixture(autouse=True)
def _nothing_warned_of_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_warned", set())


@pytest.mark.parametrize("name", EVERY)
def test_every_class_warns_once_for_each_origin_in_the_users_line(name: str) -> None:
    make = EVERY[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in ("", "/v1", "/other"):
            make(api_key=KEY, base_url=f"http://gateway.internal:8080{path}")
        make(api_key=KEY, base_url="http://gateway.internal:8081")
    ours = [item for item in caught if item.category is LunosPlainHTTPWarning]
    assert ["8080" in str(item.message) for item in ours] == [True, False]
    assert KEY not in "".join(str(item.message) for item in ours)
    user = __file__ if make in CORE.values() and isinstance(make, type) else EVERY_FILE
    assert {item.filename for item in ours} == {user}


@pytest.mark.parametrize("name", [name for name in EVERY if name not in OF_PLAIN_ARGUMENTS])
def test_a_plain_url_of_the_environment_is_warned_of_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", "http://gateway.internal")
    monkeypatch.setenv("LUNOS_API_KEY", KEY)
    with pytest.warns(LunosPlainHTTPWarning, match=r"http://gateway\.internal"):
        EVERY[name]()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "lunos.localhost",
        "127.0.0.1",
        "127.8.9.10:1",
        "[::1]:8000",
        "[::ffff:127.0.0.1]",
    ],
)
def test_the_loopback_gives_no_warning(host: str) -> None:
    Config(api_key=KEY, base_url=f"http://{host}")  # warnings are errors here


@pytest.mark.parametrize(
    "host", ["127.0.0.1.example", "localhost.example", "10.0.0.1", "[fe80::1]", "0.0.0.0", "h"]
)
def test_another_machine_gives_one(host: str) -> None:
    with pytest.warns(LunosPlainHTTPWarning):
        Config(api_key=KEY, base_url=f"http://{host}")


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_an_encrypted_connection_gives_none(scheme: str) -> None:
    Config(api_key=KEY, base_url=f"{scheme}://gateway.internal")  # warnings are errors here


def test_without_a_key_there_is_nothing_to_warn_of() -> None:
    Core(base_url="http://gateway.internal")  # asks for the public catalog alone


def test_where_warnings_are_errors_every_attempt_is_one() -> None:
    for _ in range(2):
        with pytest.raises(LunosPlainHTTPWarning):  # as they are in this test run
            Config(api_key=KEY, base_url="http://gateway.internal")


def test_a_base_url_set_later_is_warned_of() -> None:
    from langchain_lunos import ChatLunos
    from llama_index_lunos import Lunos

    chat: Any = ChatLunos(model="m", api_key=KEY)
    with pytest.warns(LunosPlainHTTPWarning):
        chat.base_url = "http://one.internal"
    with pytest.warns(LunosPlainHTTPWarning):
        chat.model_copy(update={"base_url": "http://two.internal"})
    llm: Any = Lunos("m", api_key=KEY)
    llm.api_base = "http://three.internal"
    with pytest.warns(LunosPlainHTTPWarning):  # read when it is used next
        _ = llm.client


@pytest.mark.slow
def test_a_users_program_reads_its_own_line_in_the_warning() -> None:
    program = """
        from langchain_lunos import ChatLunos
        from llama_index_lunos import Lunos
        ChatLunos(model="m", base_url="http://a.internal")
        Lunos("m", api_base="http://b.internal")
        ChatLunos(model="m", base_url="http://b.internal")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, env=os.environ | {"LUNOS_API_KEY": "sk-hush"},
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "LunosPlainHTTPWarning" in line]
    assert [line.partition(" LunosPlain")[0] for line in told] == ["<string>:4:", "<string>:5:"]
    assert "sk-hush" not in done.stderr
