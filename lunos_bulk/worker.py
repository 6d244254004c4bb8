"""One worker: rows to requests, requests to answers. Pure asyncio: engines only call it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lunos_bulk.job import Job
from lunos_bulk.pace import Ticket
from lunos_bulk.state import Answer, State
from lunos_core import errors
from lunos_core.accounting.ledger import UsageLedger
from lunos_core.accounting.observers import CallRecord, CallStart, Observer
from lunos_core.sdk import AsyncLunos

# nothing else would succeed either
_FATAL = (
    *(errors.LunosAuthenticationError, errors.LunosPaymentError, errors.LunosNotFoundError),
    *(errors.LunosBudgetError, errors.LunosConfigError),
)
_OF_THE_SERVICE = (
    *(errors.LunosConnectionError, errors.LunosServerError, errors.LunosRateLimitError),
)
_MOST_FAILURES = 20
_MAX_RETRIES = 8
_LOOK, _BEAT = 0.2, 5.0


def begin(job: Job, *, forget: bool = False) -> None:
    """Begin a run of a job, before its workers: see `State.begin`."""
    with contextlib.closing(State(job.state)) as state:
        state.begin(job.identity, job.rpm, job.tpm, forget=forget)


class Stopped(Exception):  # noqa: N818 - not an error: it goes on
    """The job ends here, and goes on with the next run: its budget is spent, say."""


class _SharedPace:
    """The pace as an observer of the client: each call takes a ticket."""

    def __init__(self, state: State, run: str) -> None:
        self._state, self._run = state, run

    def __call__(self, call: CallRecord) -> None: ...

    def open_call(self, start: CallStart) -> Generator[float, None, Observer]:
        """Wait for the call's turn; refuse it once the job has stopped."""
        if start.model is None:
            return self
        ticket: Ticket | None = None
        while True:
            now = time.time()
            with self._state.pace() as pace:
                if pace.stopped or pace.run != self._run:
                    raise errors.LunosBudgetError(pace.stopped or "another run has begun")
                if ticket is None:
                    ticket = pace.take(now, start.input_bytes // 4 + (start.max_tokens or 0))
                wait = pace.seconds(now, ticket)
            if not wait:
                return _PacedCall(self._state, ticket)
            yield wait


class _PacedCall:
    def __init__(self, state: State, ticket: Ticket) -> None:
        self._state, self._ticket = state, ticket

    def attempt_failed(self, error: errors.LunosError, delay: float) -> float:
        """Line up again, and slow all workers down where the gateway asks for it."""
        now = time.time()
        with self._state.pace() as pace:
            if isinstance(error, errors.LunosRateLimitError) or error.retry_after is not None:
                self._ticket = pace.refused(now, self._ticket, error.retry_after)
            else:
                self._ticket = pace.take(now, self._ticket.tokens)
            delay = max(delay, pace.seconds(now, self._ticket))
            self._ticket.cuts = pace.cuts
        return delay

    def __call__(self, call: CallRecord) -> None:
        now, error, usage = time.time(), call.error, call.usage
        tokens = None if usage is None else usage.input_tokens + usage.output_tokens
        with self._state.pace() as pace:
            pace.requests += call.attempts
            pace.tokens += tokens or 0
            pace.cost += (usage and usage.cost) or 0.0
            if isinstance(error, errors.LunosRateLimitError):
                pace.refused(now, self._ticket, error.retry_after)
            else:
                pace.answered(now, self._ticket, tokens)
            if error is None:
                pace.failures, pace.answered_any = 0, True
            elif isinstance(error, _OF_THE_SERVICE) or not pace.answered_any:
                pace.failures += 1
            if error is not None and pace.failures >= _MOST_FAILURES:
                text = f"{pace.failures} requests in a row failed, the last one: {error}"
                pace.stopped = pace.stopped or text


class Worker:
    """Asks what rows need, many requests at once; the key is that of the environment.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.state = job, State(job.state)
        with self.state.pace() as pace:
            self._run = pace.run
        self._ledger = UsageLedger(store=Path(job.state) / "usage.db", budgets=job.budgets)
        self._lunos = AsyncLunos(
            app_id=job.app_id,
            max_retries=_MAX_RETRIES,
            observers=[_SharedPace(self.state, self._run), self._ledger],
        )
        self._schema, self._validate = job.checked
        self._places = asyncio.Semaphore(job.in_flight)

    async def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Return the answer of each row: a float32 vector or a text as bytes, or an error.

        Raises:
            Stopped: the job is to end; what was answered is kept.
        """
        result: list[Answer] = []
        texts: dict[bytes, str] = {}
        keys: list[bytes | None] = []
        for row in rows:
            try:
                text = self.job.text_of(row)
                key = self.job.key_of(text)
                texts[key] = text
                keys.append(key)
                result.append((None, None))
            except ValueError as error:
                keys.append(None)
                result.append((None, f"ValueError: {error}"))
        known: dict[bytes, Answer] = {}
        beating = asyncio.create_task(self._beat())
        try:
            while len(known) < len(texts):
                mine, ready = self.state.claim([key for key in texts if key not in known])
                known |= ready
                wanted = {texts[key]: key for key in mine}
                asked = [self._ask(some, wanted) for some in self.job.batches(list(wanted))]
                for failure in await asyncio.gather(*asked, return_exceptions=True):
                    if failure is not None:
                        raise failure
                if not mine and not ready:  # other workers are at it
                    with self.state.pace() as pace:
                        if pace.stopped or pace.run != self._run:
                            raise Stopped(pace.stopped or "another run has begun")
                    await asyncio.sleep(_LOOK)
        finally:
            beating.cancel()
        return [known[key] if key else item for key, item in zip(keys, result, strict=True)]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            self.state.claim()

    async def _ask(self, texts: list[str], keys: Mapping[str, bytes]) -> None:
        """Ask, and keep what comes; of a batch that fails, find the texts that are to blame."""
        try:
            async with self._places:
                values = await self._send(texts)
        except _FATAL as error:
            self.state.release([keys[text] for text in texts])
            with self.state.pace() as pace:
                if pace.run == self._run:
                    pace.stopped = pace.stopped or str(error)
            raise Stopped(str(error)) from None
        except Exception as error:
            if len(texts) > 1:
                half = len(texts) // 2
                await self._ask(texts[:half], keys)
                await self._ask(texts[half:], keys)
                return
            said = " ".join(str(error).split())
            self.state.keep({keys[texts[0]]: (None, f"{type(error).__name__}: {said}")})
        else:
            rows = zip(texts, values, strict=True)
            self.state.keep({keys[text]: (value, None) for text, value in rows})

    async def _send(self, texts: list[str]) -> list[bytes]:
        job, lunos = self.job, self._lunos
        if job.prompt is None:
            answer = await lunos.embeddings.create_array(model=job.model, input=texts, **job.params)
            length = answer.array.shape[1]
            if self.state.fact("length", length) != length:
                raise errors.LunosResponseError(f"a vector of another length than before: {length}")
            return [row.astype("<f4").tobytes() for row in answer.array]
        messages: list[dict[str, Any]] = [{"role": "user", "content": texts[0]}]
        params = dict(job.params)
        if self._schema is not None:
            schema = {"name": "answer", "schema": self._schema}
            params["response_format"] = {"type": "json_schema", "json_schema": schema}
        for is_last in (False, True):
            whole = await lunos.chat.completions.create(
                model=job.model, messages=messages, **params
            )
            if whole.choices and whole.choices[0].message.refusal:
                raise ValueError(f"refused: {whole.choices[0].message.refusal}")
            try:
                self._validate(whole.text)
                return [whole.text.encode("utf-8", "replace")]
            except Exception as error:
                said = " ".join(str(error).split())[:1000]
                if is_last:
                    raise ValueError(f"an invalid answer, twice: {said}") from None
                messages += [
                    {"role": "assistant", "content": whole.text},
                    {"role": "user", "content": f"That isn't valid: {said}\nAnswer again."},
                ]
        raise AssertionError

    async def aclose(self) -> None:
        """Close connections and files."""
        await self._lunos.close()
        self._ledger.close()
        self.state.close()
