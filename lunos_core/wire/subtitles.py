"""Read SRT and WebVTT subtitles: their texts and times.

Source of the formats: https://www.w3.org/TR/webvtt1/, and SRT as players read it.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_TIME = r"((?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3})"
_TIMES = rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}"
# an SRT text continues until the next number with times: a blank line doesn't end it
_SRT = re.compile(rf"^(\d+)[ \t]*\n{_TIMES}[^\n]*\n?", re.MULTILINE)
# a WebVTT cue ends at a blank line; what follows may be a NOTE
_VTT = re.compile(rf"^(?:([^\n]+)\n)?{_TIMES}[^\n]*((?:\n(?!\n)[^\n]+)*)", re.MULTILINE)
# only WebVTT's own tags: "<3" is text
_VTT_TAG = re.compile(
    r"</?(?:c|i|b|u|ruby|rt|v|lang)(?:[.\s][^<>]*)?>|<(?:\d+:)?\d{2}:\d{2}\.\d{3}>"
)


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: its text, its times in seconds, and its number or name."""

    text: str
    start: float
    end: float
    name: str | None = None


def is_srt(text: str) -> bool:
    """Return whether a text begins as SRT files do."""
    return _SRT.match(_lines(text)) is not None


def read_srt(text: str) -> list[Cue]:
    r"""Return the cues of an SRT file.

    Example:
        >>> from lunos_core.wire.subtitles import read_srt
        >>> read_srt("1\n00:00:01,500 --> 00:00:02,000\nHello.\n")
        [Cue(text='Hello.', start=1.5, end=2.0, name='1')]
    """
    text = _lines(text)
    matches = list(_SRT.finditer(text))
    ends = [*(match.start() for match in matches), len(text)][1:]
    return [
        Cue(text[match.end() : end].strip(), _seconds(match[2]), _seconds(match[3]), match[1])
        for match, end in zip(matches, ends, strict=True)
    ]


def read_vtt(text: str) -> list[Cue]:
    r"""Return the cues of a WebVTT file, without styles, tags and notes.

    Example:
        >>> from lunos_core.wire.subtitles import read_vtt
        >>> read_vtt("WEBVTT\n\n00:01.500 --> 00:02.000 line:0\n<v Ann>Hello &amp; welcome.\n")
        [Cue(text='Hello & welcome.', start=1.5, end=2.0, name=None)]
    """
    return [
        Cue(html.unescape(_VTT_TAG.sub("", said)).strip(), _seconds(start), _seconds(end), name)
        for name, start, end, said in (match.groups() for match in _VTT.finditer(_lines(text)))
    ]


def _lines(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _seconds(clock: str) -> float:
    whole, _, fraction = clock.replace(",", ".").partition(".")
    seconds = 0
    for part in whole.split(":"):
        seconds = seconds * 60 + int(part)
    return float(f"{seconds}.{fraction}")
