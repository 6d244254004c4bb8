"""Parts of a prompt, arguments of a history, and reasoning: each branch by its value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lunos_core.endpoints.chat.content_parts import (
    audio_part,
    check_url,
    data_of,
    data_url,
    file_part,
    image_part,
    part_of_file,
    split_data_url,
    text_part,
    video_part,
    without_blanks,
)
from lunos_core.endpoints.chat.json_text import json_objects
from lunos_core.endpoints.chat.message import parse_message, tool_call_fragments
from lunos_core.endpoints.chat.reasoning import ReasoningMerger
from lunos_core.endpoints.chat.tool_arguments import INVALID_JSON, arguments_text, read_arguments
from lunos_core.endpoints.chat.tool_calls import ToolCallAssembler
from lunos_core.endpoints.images import GeneratedImage, Images
from lunos_core.wire import text as wire_text

URL = "https://h/a.png"


def test_an_image_has_a_detail_where_one_is_asked_for() -> None:
    assert image_part(URL) == {"type": "image_url", "image_url": {"url": URL}}
    assert image_part(URL, "low")["image_url"] == {"url": URL, "detail": "low"}


@pytest.mark.parametrize("url", [URL, "HTTP://h/a", "data:image/png;base64,AA=="])
def test_web_and_data_addresses_can_be_sent(url: str) -> None:
    assert check_url(url, "file") == url
    assert file_part(url, "a")["file"] == {"filename": "a", "file_data": url}


@pytest.mark.parametrize("url", ["/a.png", "a.png", "file:///a.png", "ftp://h/a"])
def test_a_path_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with https:// or data:.*send it as base64"):
        image_part(url)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        *(("wav", "wav"), ("audio/x-wav", "wav"), ("audio/wav;codecs=1", "wav")),
        *(("MP3", "mp3"), ("audio/mpeg", "mp3"), ("mp3; q=1", "mp3"), ("audio/wave", "wav")),
        *(("audio/vnd.wave", "wav"), ("mpeg3", "mp3"), ("audio/x-mp3", "mp3")),
    ],
)
def test_a_sound_is_sent_under_the_name_that_the_wire_has(written: str, sent: str) -> None:
    assert audio_part("AA==", written)["input_audio"] == {"data": "AA==", "format": sent}


@pytest.mark.parametrize("written", ["", "audio/ogg", "m4a", "x-audio/wav", "flac;wav"])
def test_a_sound_that_the_wire_cannot_carry_is_refused_with_the_remedy(written: str) -> None:
    with pytest.raises(ValueError, match=r"audio of type .* wav and mp3, so convert it first"):
        audio_part("AA==", written)


@pytest.mark.parametrize("url", [None, 7, b"https://h/a.png"])
def test_an_address_that_is_not_text_is_named_by_its_type(url: Any) -> None:
    with pytest.raises(TypeError, match=f"a file part must be a str, not {type(url).__name__}"):
        file_part(url, "a")


@pytest.mark.parametrize(
    ("url", "parts", "data"),
    [
        ("data:image/png;base64,AAE=", ("image/png", "AAE="), b"\0\1"),
        ("DATA:text/plain;charset=utf-8;base64,AAE=", ("text/plain", "AAE="), b"\0\1"),
        ("data:text/plain,a%20b,c", ("text/plain", "YSBiLGM="), b"a b,c"),
        ("data:,a", ("", "YQ=="), b"a"),
        *((url, None, None) for url in ("data:image/png", "https://h/a,b", "xdata:,a", ",data:")),
    ],
)
def test_a_data_address_is_split_into_kind_and_base64(url: str, parts: Any, data: Any) -> None:
    assert (split_data_url(url), data_of(url)) == (parts, data)


def test_a_data_address_with_broken_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="base64"):
        data_of("data:image/png;base64,A$A=")


def test_a_local_file_is_an_image_a_pdf_or_text_under_its_name() -> None:
    picture = {"url": "data:image/png;base64,AAE="}
    assert part_of_file("a.png", b"\0\1") == {"type": "image_url", "image_url": picture}
    pdf = {"filename": "a", "file_data": "data:application/pdf;base64,JVBERi0="}
    assert part_of_file("a", b"%PDF-") == {"type": "file", "file": pdf}
    assert part_of_file("a.txt", "ä".encode()) == {"type": "text", "text": "a.txt:\nä"}
    with pytest.raises(ValueError, match=r"a\.bin is neither an image, nor a PDF, nor text"):
        part_of_file("a.bin", b"\xff")


def test_texts_and_videos_are_parts_of_their_kind() -> None:
    assert text_part("a") == {"type": "text", "text": "a"}
    assert video_part(URL) == {"type": "video_url", "video_url": {"url": URL}}
    assert data_url("AA==", "image/png") == "data:image/png;base64,AA=="


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((None, {}), ([], {}), ("", {}), ("null", {}), ("[]", {}), ('{"a": 1}', {"a": 1})),
        *(({"a": 1}, {"a": 1}), ('"{\\"a\\": 1}"', {"a": 1}), ('{"a": "x\ny"}', {"a": "x\ny"})),
        *(("[1", None), ("[1]", None), ("7", None), (7, None), ('"\\"{}\\""', None)),
    ],
)
def test_arguments_are_an_object_or_unreadable(written: Any, value: Any) -> None:
    assert read_arguments(written) == value


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{ "a": 1 }', '{ "a": 1 }'),  # as it came
        ('{"a": "x\ny"}', '{"a":"x\\ny"}'),
        ('{"a": NaN}', '{"a":null}'),
        ('{"a": 1e999, "b": [-1E+400]}', '{"a":null,"b":[null]}'),
        ('{"a": 1e30, "b": 123456789012345678901}', '{"a": 1e30, "b": 123456789012345678901}'),
        ('{"ä": "ö"}', '{"ä": "ö"}'),
        ('{"a": "\\ud83d"}', '{"a":"\ufffd"}'),
        ({"ä": (1, 2.5, True, None)}, '{"ä":[1,2.5,true,null]}'),
        ({"a": {3}}, '{"a":[3]}'),
        ({"a": frozenset({3})}, '{"a":[3]}'),
        ({"a": [1, {"b": float("inf")}]}, '{"a":[1,{"b":null}]}'),
        ({1: Path("/x")}, '{"1":"/x"}'),
        ("[1", f'{{"{INVALID_JSON}":"[1"}}'),
        (["a"], f'{{"{INVALID_JSON}":["a"]}}'),
    ],
)
def test_arguments_of_a_history_are_always_the_text_of_an_object(written: Any, sent: str) -> None:
    assert arguments_text(written) == sent
    assert isinstance(json.loads(sent), dict)


def test_arguments_that_are_nested_too_deeply_are_said_to_be() -> None:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"a": value}
    try:
        assert json.loads(arguments_text(value)) == {INVALID_JSON: "nested too deeply"}
    finally:
        while value:  # a recursive deallocation this deep is Python's own affair
            value = value.pop("a")


def test_after_a_brace_that_begins_no_object_the_next_one_is_tried() -> None:
    assert list(json_objects('{{"a": 1}')) == ['{"a": 1}']
    assert list(json_objects('<THINK>{"a": 1}\n{"b": 2}</THINK>{"c": 3}')) == ['{"c": 3}']


def test_a_message_keeps_its_role_and_its_audio() -> None:
    sent = parse_message({"role": "tool", "content": "x", "audio": {"id": "a"}})
    assert (sent.role, sent.audio) == ("tool", {"id": "a"})
    bare = parse_message({"content": "x", "audio": "no"})
    assert (bare.role, bare.audio) == ("assistant", None)


def test_a_function_call_of_old_is_the_first_call() -> None:
    call = {"name": "f", "arguments": "{}"}
    assert tool_call_fragments({"function_call": call}) == [{"index": 0, "function": call}]


def details(*fragments: dict[str, Any]) -> list[dict[str, Any]]:
    merger = ReasoningMerger()
    for fragment in fragments:
        merger.add({"reasoning_details": [fragment]})
    return merger.details()


@pytest.mark.parametrize(
    ("first", "second", "is_joined"),
    [
        ({"index": 0}, {"index": 0}, True),
        ({"index": 0}, {"index": 1}, False),
        ({"index": 0}, {}, True),
        ({"id": "b"}, {"id": "b"}, True),
        ({"id": "b"}, {"id": "a"}, False),
        ({"id": "a"}, {"id": "b"}, False),
        ({"id": "a"}, {}, True),
        ({}, {"id": "a"}, True),
        ({"signature": "s"}, {}, False),
        ({"type": "reasoning.summary"}, {}, False),
    ],
)
def test_a_fragment_continues_the_reasoning_of_its_kind_place_and_id(
    first: dict[str, Any], second: dict[str, Any], is_joined: bool
) -> None:
    kind = {"type": "reasoning.text"}
    result = details({**kind, "text": "a", **first}, {**kind, "text": "b", **second})
    texts = [detail["text"] for detail in result]
    assert texts == (["ab"] if is_joined else ["a", "b"])
    if is_joined:
        assert result == [{**kind, **second, **first, "text": "ab"}]


@pytest.mark.parametrize(
    ("first", "second", "is_joined"),
    [
        *(({"id": "a"}, {"id": "a"}, True), ({"id": "a"}, {"id": "b"}, False), ({}, {}, False)),
        ({"id": "a", "index": 0}, {"id": "a", "index": 0}, True),
    ],
)
def test_encrypted_reasoning_is_whole_unless_entries_share_an_id(
    first: dict[str, Any], second: dict[str, Any], is_joined: bool
) -> None:
    kind = {"type": "reasoning.encrypted"}
    result = details({**kind, "data": "a", **first}, {**kind, "data": "b", **second})
    assert [detail["data"] for detail in result] == (["ab"] if is_joined else ["a", "b"])


def test_a_late_or_null_fact_does_not_change_the_reasoning() -> None:
    kind = {"type": "reasoning.text"}
    first = {**kind, "text": "a", "format": None, "signature": None}
    late = {"text": "b", "format": "v1", "signature": "s"}
    assert details(first, {**kind, **late}) == [{**kind, **late, "text": "ab"}]
    assert details({**kind, **late}) == [{**kind, **late}]
    again = details({**kind, "text": "a", "format": "v1"}, {**kind, "text": "b", "format": None})
    assert again == [{**kind, "text": "ab", "format": "v1"}]


def test_the_whole_call_once_more_adds_nothing() -> None:
    assembler = ToolCallAssembler({"f": "f"})
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}
    assembler.add([call])
    assert assembler.add([call]) == []
    assert [(c.id, c.name, c.arguments) for c in assembler.calls()] == [("c1", "f", '{"a":1}')]


def test_an_id_that_comes_late_names_its_call_for_later_fragments() -> None:
    assembler = ToolCallAssembler({"f": "f", "g": "g"})
    assembler.add([{"index": 0, "function": {"name": "f", "arguments": '{"a"'}}])
    assembler.add([{"index": 0, "id": "c1", "function": {"arguments": ":"}}])
    assembler.add([{"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}}])
    assembler.add([{"id": "c1", "function": {"arguments": "1}"}}])
    assert [(c.name, c.arguments) for c in assembler.calls()] == [("f", '{"a":1}'), ("g", "{}")]


def test_images_are_saved_once_each_under_their_kind(tmp_path: Path) -> None:
    def image(data: bytes) -> GeneratedImage:
        import base64

        return GeneratedImage(b64_json=base64.b64encode(data).decode())

    png = b"\x89PNG\r\n\x1a\n...."
    images = [image(png), image(png), image(b"unknown"), GeneratedImage(url="https://h/a.png")]
    folder = tmp_path / "deep" / "er"
    paths = Images(images=images).save(folder)
    assert Images(images=images).save(folder) == paths
    first, second, third, web = paths
    assert first is not None
    assert third is not None
    assert (first, first.suffix, third.suffix, web) == (second, ".png", ".bin", None)
    assert first.parent == folder
    assert (first.read_bytes(), third.read_bytes()) == (png, b"unknown")
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_an_answer_is_decoded_in_the_encoding_in_which_it_came(encoding: str) -> None:
    said = '{"a": "Grüße 😀"}'
    assert wire_text.decode(said.encode(encoding)) == said


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    assert wire_text.decode(b"a\xffb") == "a\ufffdb"
    assert wire_text.decode(b"\xff\xfea") == "\ufffd\ufffda"


def test_blank_texts_of_an_answer_are_left_out_and_nothing_else() -> None:
    kept = ["a", {"type": "text", "text": " b"}, {"type": "image_url"}, {"text": None}, 7]
    assert without_blanks(["", " \n", {"type": "text", "text": "\t"}, *kept]) == kept
