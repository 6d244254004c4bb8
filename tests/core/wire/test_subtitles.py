"""Subtitles are read into segments, in whatever state a server writes them."""

from __future__ import annotations

import pytest

from lunos_core.wire.subtitles import Cue, read_srt, read_vtt

TWO = [Cue("Hello there.", 0.0, 1.5, "1"), Cue("How are you?", 3601.25, 3602.0, "2")]
SRT = (
    "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
    "2\n01:00:01,250 --> 01:00:02,000\nHow are you?\n\n"
)


@pytest.mark.parametrize(
    "text",
    [
        SRT,
        SRT.rstrip("\n"),
        SRT.replace("\n", "\r\n"),
        "\ufeff" + SRT,
        SRT.replace(",", "."),  # as some servers write it
        SRT.replace("there.\n\n", "there.\n"),  # no blank line between
        SRT.replace("00:00:00,000", " 0:00,000 "),
    ],
)
def test_an_srt_has_a_cue_for_each_number_with_times(text: str) -> None:
    assert read_srt(text) == TWO


def test_a_time_is_the_number_that_stands_there() -> None:
    (cue,) = read_srt("1\n00:00:01,618 --> 00:01:04,853\nHello.\n")
    assert (cue.start, cue.end) == (1.618, 64.853)  # a sum of floats would be 1.6179999999999999


def test_an_srts_text_keeps_its_lines_and_what_only_looks_like_a_number() -> None:
    text = (
        "1\n00:00:00,000 --> 00:00:01,000\nI count:\n2\n\n3 <i>\n\n2\n00:00:01,0 --> 00:00:02,0\n"
    )
    assert read_srt(text) == [Cue("I count:\n2\n\n3 <i>", 0.0, 1.0, "1"), Cue("", 1.0, 2.0, "2")]


def test_a_vtt_is_read_without_notes_styles_tags_and_settings() -> None:
    text = (
        "WEBVTT - a talk\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE\nnot said\n\n"
        "first\n00:00.000 --> 00:01.500 align:start line:0%\n<v Ann>Hello <b>there</b>.</v>\n\n"
        "00:01:00.000 --> 00:01:02.000\nI <00:01:01.000>&lt;3 you &amp; <3 him,\n<c.red>too\n"
    )
    assert read_vtt(text) == [
        Cue("Hello there.", 0.0, 1.5, "first"),
        Cue("I <3 you & <3 him,\ntoo", 60.0, 62.0),
    ]


@pytest.mark.parametrize("read", [read_srt, read_vtt])
@pytest.mark.parametrize(
    "text",
    ["", "WEBVTT", "Hello there.", "1\n00:00 -> 00:01\na", f"1\n{'9' * 5000}:00:00,0 --> 1\na"],
)
def test_what_holds_no_cue_gives_none(read: object, text: str) -> None:
    assert callable(read)
    assert read(text) == []
