"""`lunos/scripted-video`: a second of plain colours as YUV4MPEG2, ready at the third query."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict

from lunos_local.backends.base import Body
from lunos_local.backends.scripted_images import Files

_FRAMES = 5
_SIDE = 16
_MOST_JOBS = 64


class ScriptedVideo:
    """Jobs that are pending, processing and completed, one step further with each query."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, list[Body]] = OrderedDict()  # the answers to the next queries
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def begin(self, body: Body, files: Files, files_url: str) -> Body:
        """Begin a job; its URL begins with `files_url`."""
        url = files_url + files.add(_video(body["prompt"]), ".y4m")
        with self._lock:
            name = f"video-{next(self._numbers)}-{url[-16:-4]}"
            job = {"id": name, "model": body["model"], "status": "pending"}
            done = {**job, "status": "completed", "video_url": url}
            self._jobs[name] = [{**job, "status": "processing"}, done]
            while len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)
        return job

    def look(self, id: str) -> Body | None:
        """Return the job, one step further, or `None` if it doesn't exist."""
        with self._lock:
            steps = self._jobs.get(id)
            if steps is None:
                return None
            return steps.pop(0) if len(steps) > 1 else steps[0]


def _video(prompt: str) -> bytes:
    colours = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    luma, chroma = _SIDE * _SIDE, _SIDE * _SIDE // 4
    frames = (
        b"FRAME\n" + bytes([colours[i]]) * luma + bytes(colours[i + 5 : i + 6]) * chroma * 2
        for i in range(_FRAMES)
    )
    return f"YUV4MPEG2 W{_SIDE} H{_SIDE} F{_FRAMES}:1 C420\n".encode() + b"".join(frames)
