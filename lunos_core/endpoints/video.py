"""`POST /video/generations` and `GET /video/generations/{id}`: videos.

Seen in the vendor's client and on an older page, not in the reference, and never live.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from lunos_core.accounting.usage import Usage, usage_with_cost
from lunos_core.arguments import check_app_id
from lunos_core.endpoints.build import fallback_of, json_call
from lunos_core.endpoints.params import SAMPLING, Check
from lunos_core.errors import LunosError, LunosServerError, LunosTimeoutError
from lunos_core.logs import log
from lunos_core.request import Reply, Request, unwrap
from lunos_core.wire import json
from lunos_core.wire.scrub import scrub

PATH = "/video/generations"
STATUSES = ("pending", "processing", "completed", "failed")

_ABSENT = f"this deployment can't generate videos: it has no route {PATH}"
VIDEO: dict[str, Check] = {
    "seed": SAMPLING["seed"],
    "user": SAMPLING["user"],
    "fallback_model": SAMPLING["fallback_model"],
}


@dataclass(frozen=True, slots=True)
class VideoJob:
    """The job that makes a video.

    Attributes:
        id: of the job, for `lunos.video.retrieve(id)`.
        status: one of `STATUSES`, or a newer one of the server's.
        url: of the video, once `status` is "completed".
        error: the server's reason for a failure.
        model: the requested model.
        usage: of the request that started the job, if the server sent it.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
        raw: the original answer.
    """

    id: str
    status: str
    url: str | None = None
    error: str | None = None
    model: str | None = None
    usage: Usage | None = None
    request_id: str | None = None
    attempts: int = 1
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def video_request(prompt: str, /, *, model: str, **params: Any) -> Request[VideoJob]:
    """Return the request that starts a video job.

    Args:
        prompt: a description of the video.
        model: the model's id.
        **params: the provider's parameters, sent unchecked; `fallback_model`, and `app_id`,
            `extra_headers`, `extra_body`, `timeout` for this call.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: an empty prompt.

    Example:
        >>> from lunos_core import video_request
        >>> video_request("a cat", model="m", duration=4).body
        b'{"model":"m","prompt":"a cat","duration":4}'
    """
    if not isinstance(prompt, str):
        raise TypeError(f"prompt must be a str, not {type(prompt).__name__}")
    if not prompt.strip():
        raise ValueError("prompt is empty: describe the video")
    return Request(
        **json_call(PATH, {"model": model, "prompt": prompt}, params, VIDEO),
        parse=functools.partial(parse_video, model=model),
        fallback=fallback_of(video_request, prompt, params),
        absent=_ABSENT,
    )


def video_status_request(id: str, *, app_id: str | None = None) -> Request[VideoJob]:
    """Return the request for the status of a video job.

    Args:
        id: of the job.
        app_id: the application that makes the call; the client's if `None`.

    Example:
        >>> from lunos_core import video_status_request
        >>> video_status_request("job/1").path
        '/video/generations/job%2F1'
    """
    if not isinstance(id, str) or not id:
        raise ValueError(f"id must be that of a job, not {id!r}")
    return Request(
        path=f"{PATH}/{quote(id, safe='')}",
        method="GET",
        content_type=None,
        parse=parse_video,
        app_id=check_app_id(app_id),
    )


def parse_video(reply: Reply, *, model: str | None = None) -> VideoJob:
    """Read the status of a video job, also of a failed one.

    Raises:
        LunosResponseError: it has no id or no status.
        LunosAPIError: it is an error sent with a successful status.
    """
    try:
        value = json.loads(reply.body)
    except ValueError:
        raise reply.malformed("isn't valid JSON") from None
    job = unwrap(value) if isinstance(value, dict) else {}
    name, status = job.get("id"), job.get("status")
    name = str(name) if type(name) is int else name
    if not isinstance(name, str) or not isinstance(status, str) or not name:
        reply.value()  # raises, as it is mostly an error
        raise reply.malformed("has no id and status of a video")
    url, error = job.get("video_url") or job.get("url"), job.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    return VideoJob(
        id=name,
        status=status.lower(),
        url=url if isinstance(url, str) else None,
        error=scrub(error, reply.secret) if isinstance(error, str) else None,
        model=model or (job["model"] if isinstance(job.get("model"), str) else None),
        usage=usage_with_cost(job) if model else None,  # counted once, however often it is queried
        request_id=reply.request_id,
        attempts=reply.attempts,
        raw=job,
    )


def waits(
    job: VideoJob, *, every: float, at_most: float, on_progress: Callable[[VideoJob], Any] | None
) -> Generator[float, VideoJob, VideoJob]:
    """Yield the seconds until each query, receive the job's new state, return the completed job.

    Args:
        job: the new job.
        every: seconds between two queries.
        at_most: seconds in total.
        on_progress: called with each state of the job; what it raises is logged.

    Raises:
        LunosServerError: the job failed; `partial` has its last state.
        LunosTimeoutError: the job takes longer; `partial` has its last state.
    """
    waited = 0.0
    while True:
        try:
            if on_progress is not None:
                on_progress(job)
        except Exception:
            log.exception("on_progress failed; waiting for the video continues")
        if job.status == "completed":
            return job
        error: LunosError | None = None
        if job.status in ("failed", "cancelled", "canceled"):
            error = LunosServerError(f"the video failed: {job.error or 'without a reason'}")
        elif waited + every > at_most:
            error = LunosTimeoutError(
                f"the video is {job.status} after {waited:g} s: "
                f"query it later with video.retrieve({job.id!r})"
            )
        if error is not None:
            error.partial, error.model = job, job.model
            raise error
        waited += every
        job = yield every
