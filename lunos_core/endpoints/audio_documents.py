"""Transcriptions as texts with metadata: what both frameworks' documents are made of."""

from __future__ import annotations

from typing import Any

from lunos_core.endpoints.audio import Transcription


def documents_of(answer: Transcription, *, by_segment: bool) -> list[tuple[str, dict[str, Any]]]:
    """(text, metadata) of the whole, or of each segment where there are some.

    Metadata holds what the server said: `language`, `duration` (seconds), `format`, and `start` and
    `end` of a segment, or of all segments under `segments`.
    """
    cost = None if answer.usage is None else answer.usage.cost
    facts = {
        "language": answer.language,
        "duration": answer.duration,
        "format": answer.format,
        "model": answer.model,
        "cost": cost,
    }
    about = {name: value for name, value in facts.items() if value is not None}
    segments = [{"text": one.text, "start": one.start, "end": one.end} for one in answer.segments]
    if by_segment and segments:
        # the cost is the call's: on the first alone, so that it can be added up
        shared = {name: value for name, value in about.items() if name != "cost"}
        return [
            (
                str(one["text"]).strip(),
                {
                    **(about if at == 0 else shared),
                    "segment": at,
                    "start": one["start"],
                    "end": one["end"],
                },
            )
            for at, one in enumerate(segments)
        ]
    return [(answer.text, {**about, "segments": segments} if segments else about)]
