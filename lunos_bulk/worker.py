"""One worker: rows to requests, requests to answers. Pure asyncio: engines only call it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lunos_bulk.job import Job
from lunos_bulk.state import Answer, State
from lunos_core import errors
from lunos_core.accounting.ledger import UsageLedger
from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.pace import SharedPace
from lunos_core.accounting.token_estimate import batches_by_tokens
from lunos_core.endpoints.chat.json_text import json_objects
from lunos_core.sdk import AsyncLunos

# nothing else would succeed either
_FATAL = (
    *(errors.LunosAuthenticationError, errors.LunosPaymentError, errors.LunosNotFoundError),
    *(errors.LunosBudgetError, errors.LunosConfigError),
)
# not the fault of the text that was asked; what times out is a connection error, too
_PASSING = (errors.LunosConnectionError, errors.LunosServerError, errors.LunosRateLimitError)
_MOST_FAILURES, _MAX_RETRIES = 20, 8
_LOOK, _BEAT = 0.2, 5.0  # seconds


def begin(job: Job) -> None:
    """Begin a run of a job, before its workers: see `State.begin`."""
    state = State(job.state)
    with state.store:
        state.begin(job.identity)


class Stopped(Exception):  # noqa: N818 - not an error: it goes on
    """The job ends here, and goes on with the next run: its budget is spent, say."""


class Worker:
    """Asks what rows need, many requests at once; the key is that of the environment."""

    def __init__(self, job: Job) -> None:
        self.job, self.state = job, State(job.state)
        store = self.state.store
        pace = SharedPace(store, requests_per_minute=job.rpm, tokens_per_minute=job.tpm)
        ledger = UsageLedger(store=store, budgets=job.budgets)
        self._lunos = AsyncLunos(
            app_id=job.app_id, max_retries=_MAX_RETRIES, observers=[pace, self, ledger]
        )
        self._places, self._trying = asyncio.Semaphore(job.in_flight), asyncio.Lock()
        self._failures, self._answered, self._checked = 0, False, job.checked

    def before_call(self, **_: Any) -> None:
        """Refuse a call once the job has stopped: the client's hook before it sends."""
        if stopped := self.state.stopped:
            raise errors.LunosBudgetError(stopped)

    def __call__(self, call: CallRecord) -> None:
        """Count requests in a row that failed: the client's hook after each call."""
        if call.error is None:
            self._failures, self._answered = 0, True
        elif isinstance(call.error, _PASSING) or not self._answered:
            self._failures += 1

    async def answered(self, table: Any, rows: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """Return an Arrow table with the columns "error" and "vector" (float32) or "answer".

        Args:
            table: the rows.
            rows: the same as they were, where a table can't hold them.

        Raises:
            Stopped: the job is to end; what was answered is kept.
        """
        answers = await self.answers(rows or table.select(self.job.columns).to_pylist())
        values = [value for value, _ in answers]
        if self.job.prompt is not None:
            column = pa.array(values, pa.binary()).cast(pa.string())
        else:
            length = self.state.fact("length") or 1
            missing, data = pa.array(values, pa.binary(4 * length)).buffers()
            floats = pa.Array.from_buffers(pa.float32(), len(values) * length, [None, data])
            kind = pa.list_(pa.float32(), length)
            column = pa.Array.from_buffers(kind, len(values), [missing], children=[floats])
        table = table.append_column(self.job.label, column)
        return table.append_column("error", pa.array([error for _, error in answers], pa.string()))

    async def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Return the answer of each row: a float32 vector or a text as bytes, or an error.

        Raises:
            Stopped: the job is to end; what was answered is kept.
        """
        keys: list[bytes] = []
        texts: dict[bytes, str] = {}
        known: dict[bytes, Answer] = {}
        for i, row in enumerate(rows):
            try:
                text = self.job.text_of(row)
                texts[key := self.job.key_of(text)] = text
            except ValueError as error:
                known[key := b"%d" % i] = (None, f"ValueError: {error}")
            keys.append(key)
        beating = asyncio.create_task(self._beat())
        try:
            while missing := [key for key in texts if key not in known]:
                if stopped := self.state.stopped:
                    raise Stopped(stopped)
                mine, ready = self.state.claim(missing)
                known |= ready
                most = 2048 if self.job.prompt is None else 1  # what embedding services take
                batches = batches_by_tokens(
                    [texts[key] for key in mine], self.job.batch_tokens, most_texts=most
                )
                await asyncio.gather(*map(self._ask, batches))
                if not mine and not ready:  # other workers are at it
                    await asyncio.sleep(_LOOK)
        finally:
            beating.cancel()
            self.state.store.flush()  # a worker may be killed at any time
        return [known[key] for key in keys]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            self.state.claim()

    async def _ask(self, texts: list[str]) -> None:
        """Ask, and keep what comes; of a batch that fails, find the texts that are to blame."""
        try:
            async with self._places:
                try:
                    values = await self._send(texts)
                except Exception:
                    await self._stop_unless_others_succeed()
                    raise
        except _FATAL as error:
            self.state.stop(str(error))
        except Exception as error:
            if half := len(texts) // 2:
                await self._ask(texts[:half])
                await self._ask(texts[half:])
                return
            answer = (None, f"{type(error).__name__}: {' '.join(str(error).split())}")
            passing = isinstance(error, _PASSING) or not self._answered
            self.state.keep({self.job.key_of(texts[0]): answer}, passing=passing)
        else:
            rows = zip(map(self.job.key_of, texts), values, strict=True)
            self.state.keep({key: (value, None) for key, value in rows})

    async def _stop_unless_others_succeed(self) -> None:
        """After many failures, ask with a harmless text: are the rows to blame, or the job?"""
        async with self._trying:
            if self._failures < _MOST_FAILURES or self.state.stopped:
                return
            failures, harmless = self._failures, dict.fromkeys(self.job.columns, "Hello")
            try:
                await self._send([self.job.text_of(harmless)])
            except Exception as error:
                if self._failures:  # an invalid answer is an answer
                    said = f"{failures} requests in a row failed, then one with a harmless text"
                    self.state.stop(f"{said}: {error}")

    async def _send(self, texts: list[str]) -> list[bytes]:
        job, lunos = self.job, self._lunos
        if job.prompt is None:
            answer = await lunos.embeddings.create_array(model=job.model, input=texts, **job.params)
            length = answer.array.shape[1]
            if self.state.fact("length", length) != length:
                raise errors.LunosResponseError(f"a vector of another length than before: {length}")
            return [row.astype("<f4").tobytes() for row in answer.array]
        messages: list[dict[str, Any]] = [{"role": "user", "content": texts[0]}]
        params, (schema, validate) = {"model": job.model, **job.params}, self._checked
        if schema is not None:
            named = {"name": "answer", "schema": schema}
            params["response_format"] = {"type": "json_schema", "json_schema": named}
        said = ""
        for _ in range(2):
            whole = await lunos.chat.completions.create(messages=messages, **params)
            if whole.choices and whole.choices[0].message.refusal:
                raise ValueError(f"refused: {whole.choices[0].message.refusal}")
            objects = json_objects(whole.text) if schema is not None else ()
            for text in (whole.text, *objects):  # an object may stand in a fence, or in prose
                try:
                    validate(text)
                    return [text.encode("utf-8", "replace")]
                except Exception as error:
                    said = " ".join(str(error).split())[:1000]
            messages.append({"role": "assistant", "content": whole.text})
            again = f"That isn't valid: {said}\nAnswer again."
            messages.append({"role": "user", "content": again})
        raise ValueError(f"an invalid answer, twice: {said}")

    async def aclose(self) -> None:
        """Close connections and the file."""
        await self._lunos.close()
        self.state.store.close()
