"""What both adapters are built from."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_core import Config
from lunos_core.adapters import ClientPair, check_names, find_image, to_tool_choice
from lunos_core.errors import ErrorMap


class Model:
    """A class of a framework."""


TOOLS = [
    {"type": "function", "function": {"name": "add", "parameters": {}}},
    {"type": "web_search"},
]
ADD = {"type": "function", "function": {"name": "add"}}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("any", "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("add", ADD),
        ("web_search", {"type": "web_search"}),
        (ADD, ADD),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "add"}, ADD),
    ],
)
def test_every_spelling_of_a_tool_choice_is_the_wires(given: Any, sent: Any) -> None:
    assert to_tool_choice(given, TOOLS) == sent


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("subtract", ValueError, "'subtract' isn't one of the tools: add, web_search"),
        ({"type": "tool", "name": "x"}, ValueError, "'x' isn't one of the tools"),
        (5, TypeError, "tool_choice must be a str, bool or dict, not int"),
    ],
)
def test_a_tool_choice_that_cannot_be_meant_raises(
    given: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        to_tool_choice(given, TOOLS)


def test_clients_are_made_once_and_copies_share_them() -> None:
    pair = ClientPair(Config(api_key="k"), errors=ErrorMap())
    assert pair.sync is pair.sync
    assert pair.asynchronous is pair.asynchronous
    assert copy.deepcopy(pair).sync is pair.sync
    again = pickle.loads(pickle.dumps(pair))
    assert again.config == pair.config
    assert again.sync is not pair.sync


@pytest.mark.parametrize("name", ["http_client", "async_http_client"])
def test_an_http_client_of_another_kind_is_refused_when_it_is_given(name: str) -> None:
    wrong = httpx.AsyncClient() if name == "http_client" else httpx.Client()
    with pytest.raises(TypeError, match="httpx"):
        ClientPair(Config(api_key="k"), errors=ErrorMap(), **{name: wrong})


def test_what_is_not_a_catalog_is_refused_when_it_is_given() -> None:
    with pytest.raises(TypeError, match=r"catalog must be a lunos_core\.Catalog"):
        ClientPair(Config(api_key="k"), errors=ErrorMap(), catalog=object())


def test_an_image_that_a_model_names_is_on_the_web_or_in_the_tools_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "in").mkdir()
    folder = tmp_path / "in"
    (folder / "b.png").write_bytes(b"b")
    for url in ("https://h/a.png", "HTTP://h/a", "data:image/png;base64,AA=="):
        assert find_image(url, None) == url
    assert find_image("b.png", folder) == find_image("/x/b.png", folder) == folder / "b.png"
    for name in ("../a.png", str(tmp_path / "a.png"), "none.png", "data:text/plain,a"):
        assert find_image(name, folder) is None
    assert find_image("b.png", None) is None


def test_an_argument_that_a_class_does_not_have_is_refused_with_the_one_that_was_meant() -> None:
    check_names(Model, {"model": "m"}, ["model", "timeout"])
    with pytest.raises(TypeError, match=r"^Model.* 'timeuot'.*timeout.*extra_body"):
        check_names(Model, {"model": "m", "timeuot": 1}, ["model", "timeout"])
