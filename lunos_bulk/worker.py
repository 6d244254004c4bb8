"""One worker: from rows to requests to answers. Pure asyncio: engines only call it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lunos_bulk.job import Job
from lunos_bulk.state import Answer, State
from lunos_core import errors
from lunos_core.accounting.ledger import UsageLedger
from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.pace import SharedPace
from lunos_core.accounting.token_estimate import batches_by_tokens
from lunos_core.compatibility.advice import one_line
from lunos_core.endpoints.chat.json_text import json_objects
from lunos_core.sdk import AsyncLunos

# not the text's fault; a timeout is a connection error, too
_PASSING = (errors.LunosConnectionError, errors.LunosServerError, errors.LunosRateLimitError)
# hardly ever the text's fault
_OF_THE_JOB = (
    *(errors.LunosAuthenticationError, errors.LunosPaymentError),
    *(errors.LunosPermissionError, errors.LunosNotFoundError),
)
_MOST_FAILURES, _MAX_RETRIES = 20, 8
_LOOK, _BEAT = 0.2, 5.0  # seconds


def begin(job: Job) -> None:
    """Start a run of a job before its workers: see `State.begin`."""
    with (state := State(job.state)).store:
        state.begin(job.identity)


class Stopped(Exception):  # noqa: N818 - no error: the job can continue
    """The job stops, for example because its budget is spent; the next run continues it."""


class Worker:
    """Sends the requests of rows, many at once, with the environment's key."""

    def __init__(self, job: Job) -> None:
        self.job, self.state = job, State(job.state)
        store = self.state.store
        pace = SharedPace(store, requests_per_minute=job.rpm, tokens_per_minute=job.tpm)
        ledger = UsageLedger(store=store, budgets=job.budgets)
        self._lunos = AsyncLunos(
            app_id=job.app_id, max_retries=_MAX_RETRIES, observers=[pace, self, ledger]
        )
        self._places, self._trying = asyncio.Semaphore(job.in_flight), asyncio.Lock()
        self._failures, self._answered, self._checked = 0, False, job.checked()

    def before_call(self, **_: Any) -> None:
        """Refuse a call once the job has stopped: the client's hook before it sends."""
        if stopped := self.state.stopped:
            raise errors.LunosBudgetError(stopped)

    def __call__(self, call: CallRecord) -> None:
        """Count requests in a row that failed: the client's hook after each call."""
        self._failures += 1
        if call.error is None:
            self._failures, self._answered = 0, True

    async def answered(self, table: Any, rows: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """Return the table with "error" and "vector" (float32) or "answer", or raise `Stopped`."""
        answers = await self.answers(rows or table.select(self.job.columns).to_pylist())
        values, failures = zip(*answers, strict=True) if answers else ((), ())
        if self.job.prompt is not None:
            column = pa.array(values, pa.binary()).cast(pa.string())
        else:
            length = self.state.fact("length") or 1
            numbers = np.frombuffer(b"".join(v or bytes(4 * length) for v in values), "<f4")
            missing = pa.array([value is None for value in values], pa.bool_())
            column = pa.FixedSizeListArray.from_arrays(pa.array(numbers), length, mask=missing)
        table = table.append_column(self.job.label, column)
        return table.append_column("error", pa.array(failures, pa.string()))

    async def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Return the answer of each row: a float32 vector or a text as bytes, or an error.

        Raises:
            Stopped: the job must stop; its answers are stored.
        """
        keys, texts, known = list[bytes](), dict[bytes, str](), dict[bytes, Answer]()
        for i, row in enumerate(rows):
            try:
                text = self.job.text_of(row)
                texts[key := self.job.key_of(text)] = text
            except ValueError as error:
                known[key := b"%d" % i] = (None, f"ValueError: {error}")
            keys.append(key)
        while missing := [key for key in texts if key not in known]:
            if stopped := self.state.stopped:
                self.state.store.flush()
                raise Stopped(stopped)
            mine, ready = self.state.claim(missing)
            known |= ready
            most = 2048 if self.job.prompt is None else 1  # what embedding services take
            asked = [texts[key] for key in mine]
            batches = batches_by_tokens(asked, self.job.batch_tokens, most_texts=most)
            asking = {asyncio.create_task(self._ask(batch)) for batch in batches}
            if not mine and not ready:  # other workers are at it
                await asyncio.sleep(_LOOK)
            while asking:
                done, asking = await asyncio.wait(asking, timeout=_BEAT)
                self.state.claim()
                for task in done:
                    task.result()
        self.state.store.flush()  # a worker may be killed at any time
        return [known[key] for key in keys]

    async def _ask(self, texts: list[str]) -> None:
        """Send texts and store the answers; if a batch fails, find the texts that cause it."""
        keys = list(map(self.job.key_of, texts))
        async with self._places:
            try:
                values = await self._send(texts)
            except Exception as error:  # whoever waits for a place sends nothing meanwhile
                failure = error
                await self._stop_if_to_blame(failure)
            else:
                self.state.keep({key: (v, None) for key, v in zip(keys, values, strict=True)})
                return
        if self.state.stopped:
            return
        if half := len(texts) // 2:
            await self._ask(texts[:half])
            await self._ask(texts[half:])
            return
        said = f"{type(failure).__name__}: {' '.join(str(failure).split())}"
        self.state.keep({keys[0]: (None, said)}, passing=isinstance(failure, _PASSING))

    async def _stop_if_to_blame(self, error: Exception) -> None:
        if isinstance(error, errors.LunosBudgetError | errors.LunosConfigError):
            self.state.stop(str(error))
        async with self._trying:
            is_doubted = isinstance(error, _OF_THE_JOB) or not self._answered
            is_doubted |= isinstance(error, _PASSING) and self._failures >= _MOST_FAILURES
            if self._failures and is_doubted and not self.state.stopped:
                try:
                    await self._send([self.job.text_of(dict.fromkeys(self.job.columns, "Hi"))])
                except errors.LunosError as failure:
                    said = one_line(failure)
                    self.state.stop(f"requests fail, with a harmless text, too: {said}")
                except ValueError:
                    pass  # an invalid answer is an answer

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
            if whole.choices and (refusal := whole.choices[0].message.refusal):
                raise ValueError(f"refused: {refusal}")
            objects = json_objects(whole.text) if schema is not None else ()
            for text in (whole.text, *objects):  # an object may be in a fence, or in prose
                try:
                    validate(text)
                    return [text.encode("utf-8", "replace")]
                except Exception as error:
                    said = " ".join(str(error).split())[:1000]
            again = f"That isn't valid: {said}\nAnswer again."
            messages.append({"role": "assistant", "content": whole.text})
            messages.append({"role": "user", "content": again})
        raise ValueError(f"an invalid answer, twice: {said}")

    async def aclose(self) -> None:
        """Close the connections and the file."""
        await self._lunos.close()
        self.state.store.close()
