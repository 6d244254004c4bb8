"""Videos: the job, the looks at it, and how it ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    Lunos,
    LunosAuthenticationError,
    LunosError,
    LunosNotFoundError,
    LunosResponseError,
    LunosServerError,
    LunosTimeoutError,
    UsageLedger,
    VideoJob,
)
from tests.core.wire_samples import Wire, raw, reply

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

PENDING = {"id": "j/1", "status": "pending"}
DONE = {"id": "j/1", "status": "completed", "video_url": "https://x.test/1.mp4", "cost": 0.5}


def lunos_of(both: Both, wire: Any) -> Any:
    kind = AsyncLunos if both.is_async else Lunos
    http = both.http_client(wire)
    return kind("k", base_url="https://lunos.test", max_retries=0, http_client=http)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, which pass at once; naps below a second are others'."""
    seconds: list[float] = []
    sleep = asyncio.sleep

    async def asleep(delay: float) -> None:
        if delay >= 1:
            seconds.append(delay)
        await sleep(0)

    def sleep_here(delay: float) -> None:
        if threading.current_thread() is threading.main_thread():  # others' threads sleep, too
            if delay >= 1:
                seconds.append(delay)
        else:
            Event().wait(delay)

    monkeypatch.setattr(time, "sleep", sleep_here)
    monkeypatch.setattr("lunos_core.sdk.media.asyncio.sleep", asleep)
    return seconds


async def test_a_video_is_begun_and_looked_at_until_it_is_there(
    both: Both, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = reply({**PENDING, "cost": 0.5})
    wrapped = reply({"success": True, "data": {**DONE, "status": "COMPLETED"}})
    wire = Wire(begun, reply({**PENDING, "status": "processing"}), wrapped)
    seen: list[str] = []

    def progress(job: VideoJob) -> None:
        seen.append(job.status)
        raise RuntimeError("logged, and no matter")

    with UsageLedger() as ledger:
        job = await both(
            lunos_of(both, wire).video.generate(
                model="m", prompt="a cat", duration=4, app_id="app", on_progress=progress
            )
        )
    assert (job.status, job.url, job.model) == ("completed", "https://x.test/1.mp4", "m")
    assert not capsys.readouterr().err  # no bar that nobody asked for
    assert seen == ["pending", "processing", "completed"]
    assert waited == [5.0, 5.0]
    sent = [(request.method, request.url.raw_path.decode()) for request in wire.requests]
    assert sent == [
        ("POST", "/v1/video/generations"),
        ("GET", "/v1/video/generations/j%2F1"),
        ("GET", "/v1/video/generations/j%2F1"),
    ]
    assert wire.requests[0].read() == b'{"model":"m","prompt":"a cat","duration":4}'
    assert {request.headers["x-app-id"] for request in wire.requests} == {"app"}
    assert sum(row["cost"] or 0 for row in ledger.rows()) == 0.5


def test_jobs_are_equal_whatever_else_the_server_said() -> None:
    asked, again = (VideoJob("1", "pending", raw={"time": i}) for i in range(2))
    assert asked == again != VideoJob("1", "completed")
    assert "time" not in repr(asked)


async def test_a_bar_shows_the_status_beside_the_users_own_function(
    both: Both, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    wire = Wire(reply(PENDING), reply(DONE))
    seen: list[VideoJob] = []
    job = await both(
        lunos_of(both, wire).video.generate(
            model="m", prompt="a cat", show_progress=True, on_progress=seen.append
        )
    )
    assert seen[-1].status == job.status == "completed"
    assert "Video completed, 00:0" in capsys.readouterr().err


async def test_a_bar_without_tqdm_is_refused_before_anything_is_paid(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(reply(PENDING))
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        await both(lunos_of(both, wire).video.generate(model="m", prompt="a", show_progress=True))
    assert not wire.requests


@pytest.mark.parametrize("error", ["too dark", {"message": "too dark"}])
async def test_a_video_that_fails_is_an_error_that_keeps_the_job(
    both: Both, waited: list[float], error: Any
) -> None:
    failed = {"id": 7, "status": "failed", "error": error}
    lunos = lunos_of(both, Wire(reply(PENDING), reply(failed)))
    with pytest.raises(LunosServerError, match="too dark") as caught:
        await both(lunos.video.generate(model="m", prompt="a cat"))
    assert (caught.value.partial.id, caught.value.partial.status) == ("7", "failed")
    job = await both(lunos.video.retrieve("7"))
    assert (job.status, job.error) == ("failed", "too dark")


async def test_a_video_that_takes_too_long_is_kept_for_later(
    both: Both, waited: list[float]
) -> None:
    lunos = lunos_of(both, Wire(reply(PENDING)))
    with pytest.raises(LunosTimeoutError, match=r"video\.retrieve\('j/1'\)") as caught:
        await both(lunos.video.generate(model="m", prompt="a", poll_interval=2, max_wait=5))
    assert caught.value.partial.id == "j/1"
    assert waited == [2, 2]
    waited.clear()
    with pytest.raises(LunosTimeoutError):
        await both(lunos.video.generate(model="m", prompt="a"))
    assert waited == [5.0] * 120


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (
            {"success": False, "message": "no", "error": "UNAUTHORIZED"},
            200,
            LunosAuthenticationError,
        ),
        ({"status": "pending"}, 200, LunosResponseError),
        ({"id": "1"}, 200, LunosResponseError),
        ([], 200, LunosResponseError),
        (b"<p>", 200, LunosResponseError),
        ({"error": "Not Found"}, 404, LunosNotFoundError),
    ],
)
async def test_an_answer_other_than_a_job_is_a_typed_error(
    both: Both, body: Any, status: int, kind: type[LunosError]
) -> None:
    answer = raw(body) if isinstance(body, bytes) else reply(body, status)
    lunos = lunos_of(both, Wire(answer))
    with pytest.raises(kind, match="can't generate videos" if status == 404 else None):
        await both(lunos.video.create(model="m", prompt="a"))
    for given in ({"prompt": ""}, {"prompt": 7}, {"model": ""}):
        with pytest.raises((ValueError, TypeError)):
            await both(lunos.video.create(**{"model": "m", "prompt": "a", **given}))
    with pytest.raises(ValueError, match="id must be"):
        await both(lunos.video.retrieve(""))


async def test_the_local_gateway_makes_one(both: Both, gateway: LocalGateway) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    job = await both(
        lunos.video.generate(model="lunos/scripted-video", prompt="a", poll_interval=0.01)
    )
    async with httpx.AsyncClient() as http:
        film = await http.get(job.url)
    assert film.content.startswith(b"YUV4MPEG2 W16 H16")
    assert film.headers["content-type"] == "video/x-yuv4mpeg"
    with pytest.raises(LunosNotFoundError, match="no such job"):
        await both(lunos.video.retrieve("gone"))
    with pytest.raises(LunosError, match="does not support video"):
        await both(lunos.video.create(model="lunos/scripted", prompt="a"))
