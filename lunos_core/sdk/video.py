"""`lunos.video`: start a job, and query it until it is done."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lunos_core.endpoints.video import VideoJob, video_request, video_status_request, waits
from lunos_core.sdk.text import Resource
from lunos_core.transport.client import AsyncClient, Client


class Videos(Resource[Client]):
    """`lunos.video`: from the vendor's client, not the reference, and never seen live."""

    def create(self, *, model: str, prompt: str, **params: Any) -> VideoJob:
        """Start a video, and return its job at once."""
        return self._client.send(video_request(prompt, model=model, **params))

    def retrieve(self, id: str, *, app_id: str | None = None) -> VideoJob:
        """Query a job: `status`, and `url` once it is completed."""
        return self._client.send(video_status_request(id, app_id=app_id))

    def generate(
        self,
        *,
        model: str,
        prompt: str,
        poll_interval: float = 5.0,
        max_wait: float = 600.0,
        on_progress: Callable[[VideoJob], Any] | None = None,
        show_progress: bool = False,
        **params: Any,
    ) -> VideoJob:
        """Make a video, and wait for it.

        Args:
            model: the model's id.
            prompt: a description of the video.
            poll_interval: seconds between two queries.
            max_wait: seconds in total.
            on_progress: called with the job after each query.
            show_progress: show a line with the job's status and the elapsed time; needs tqdm.
            **params: see `video_request`.

        Raises:
            ImportError: `show_progress` is set, and tqdm isn't installed: nothing was sent.
            LunosError: the call, or the video, failed; `partial` has the job.
            LunosTimeoutError: it wasn't ready in time; `partial` has the job.

        Example:
            >>> from lunos_core import Lunos
            >>> lunos = Lunos()
            >>> job = lunos.video.generate(
            ...     model="lunos/scripted-video",
            ...     prompt="A cat walks by.",
            ...     poll_interval=0.01,
            ...     on_progress=lambda job: print(job.status),
            ... )
            pending
            processing
            completed
            >>> job.url.endswith(".y4m")
            True
        """
        with _progress(show_progress, on_progress) as tell:
            job = self.create(model=model, prompt=prompt, **params)
            steps = waits(job, every=poll_interval, at_most=max_wait, on_progress=tell)
            try:
                seconds = next(steps)
                while True:
                    time.sleep(seconds)
                    seconds = steps.send(self.retrieve(job.id, app_id=params.get("app_id")))
            except StopIteration as finished:
                done: VideoJob = finished.value
                return replace(done, model=job.model, usage=job.usage)


class AsyncVideos(Resource[AsyncClient]):
    """`lunos.video`, awaited."""

    async def create(self, *, model: str, prompt: str, **params: Any) -> VideoJob:
        """Start a video: see `Lunos`."""
        return await self._client.send(video_request(prompt, model=model, **params))

    async def retrieve(self, id: str, *, app_id: str | None = None) -> VideoJob:
        """Query a job: see `Lunos`."""
        return await self._client.send(video_status_request(id, app_id=app_id))

    async def generate(
        self,
        *,
        model: str,
        prompt: str,
        poll_interval: float = 5.0,
        max_wait: float = 600.0,
        on_progress: Callable[[VideoJob], Any] | None = None,
        show_progress: bool = False,
        **params: Any,
    ) -> VideoJob:
        """Make a video, and wait for it: see `Lunos`."""
        with _progress(show_progress, on_progress) as tell:
            job = await self.create(model=model, prompt=prompt, **params)
            steps = waits(job, every=poll_interval, at_most=max_wait, on_progress=tell)
            try:
                seconds = next(steps)
                while True:
                    await asyncio.sleep(seconds)
                    seconds = steps.send(await self.retrieve(job.id, app_id=params.get("app_id")))
            except StopIteration as finished:
                done: VideoJob = finished.value
                return replace(done, model=job.model, usage=job.usage)


@contextlib.contextmanager
def _progress(
    show: bool, on_progress: Callable[[VideoJob], Any] | None
) -> Iterator[Callable[[VideoJob], Any] | None]:
    """Yield a function to call with each state of a job; with `show` it also updates tqdm's."""
    if not show:
        yield on_progress
        return
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        raise ImportError("show_progress=True needs tqdm: pip install tqdm") from None
    with tqdm(bar_format="{desc}, {elapsed}", desc="Video") as bar:

        def tell(job: VideoJob) -> None:
            bar.set_description_str(f"Video {job.status}")
            if on_progress is not None:
                on_progress(job)

        yield tell
