"""A bulk job: a value that is sent to every worker, without the key."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lunos_core.accounting.budgets import Budget
from lunos_core.accounting.token_estimate import cut_to_tokens, estimate_tokens
from lunos_core.errors import LunosConfigError

# Arrow's; None is that of JSON, CSV and texts
_TEXT = ("string", "large_string", "dictionary<values=string", "dictionary<values=large_s", "None")
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


@dataclass(frozen=True)
class Job:
    """The requests of a job, their model, their pace and their budget.

    Args:
        state: a folder on this machine for answers and finished blocks.
        model: the model's id.
        column: the column of the texts to embed.
        prompt: a prompt for a chat model instead; `{column}` stands for a row's text.
        schema: the schema of its answers: a pydantic model, or a JSON schema.
        params: parameters of each request, such as `dimensions` or `max_tokens`.
        on_long: whether texts of more than `most_tokens` tokens are cut, or become dead letters.
        most_tokens: the most estimated tokens of a text.
        batch_tokens: the estimated tokens of the texts in one embedding request.
        in_flight: concurrent requests of each worker.
        rpm: requests per minute of all workers together; by default the pace adapts to the gateway.
        tpm: tokens per minute of all workers together.
        budget: USD for all workers together: when it is spent, the job stops.
        per: the budget's window: "hour", "day", "week", "month", or `None` for all time.
        app_id: the app that pays.

    Raises:
        LunosConfigError: a setting can't be used.
    """

    state: str
    model: str
    column: str = "text"
    prompt: str | None = None
    schema: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    on_long: Literal["cut", "refuse"] = "refuse"
    most_tokens: int = 8191
    batch_tokens: int = 8192
    in_flight: int = 32
    rpm: float | None = None
    tpm: float | None = None
    budget: float | str | None = None
    per: str | None = None
    app_id: str | None = None
    columns: list[str] = field(init=False, repr=False)  # those to read
    label: str = field(init=False, repr=False)  # the column to write
    budgets: list[Budget] = field(init=False, repr=False)
    identity: str = field(init=False, repr=False)  # all that an answer depends on

    def __post_init__(self) -> None:
        facts = vars(self)
        facts["state"] = os.path.abspath(self.state)
        for name in ("most_tokens", "batch_tokens", "in_flight", "rpm", "tpm"):
            if (value := facts[name]) is not None and not value > 0:
                raise LunosConfigError(f"{name} must be above 0, not {value}")
        if self.on_long not in ("cut", "refuse"):
            raise LunosConfigError(f'on_long must be "cut" or "refuse", not {self.on_long!r}')
        named = [self.column] if self.prompt is None else _PLACE.findall(self.prompt)
        facts["columns"] = list(dict.fromkeys(filter(None, named)))
        facts["label"] = "vector" if self.prompt is None else "answer"
        if not self.columns:
            raise LunosConfigError("the prompt names no column: write {text} where its text is")
        try:
            facts["budgets"] = [] if self.budget is None else [Budget(self.budget, per=self.per)]
            asked = [self.model, self.prompt, self.params, self.on_long, self.most_tokens]
            facts["identity"] = json.dumps([*asked, self.checked()[0]], sort_keys=True)
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise LunosConfigError(f"the budget or the schema can't be used: {said}") from None

    def checked(self) -> tuple[Any, Callable[[str], object]]:
        """Return the JSON schema, and a function that raises if an answer doesn't fit it."""
        if self.schema is None:
            return None, str
        if hasattr(self.schema, "model_validate_json"):
            return self.schema.model_json_schema(), self.schema.model_validate_json
        if not isinstance(self.schema, dict):
            raise TypeError("a JSON schema must be an object")
        import jsonschema_rs

        def refuse(address: str) -> Any:
            raise ValueError(f"{address} isn't fetched")

        validator = jsonschema_rs.validator_for(self.schema, retriever=refuse)
        return self.schema, lambda text: validator.validate(json.loads(text))

    def check_columns(self, there: Mapping[str, Any], *keep: str) -> None:
        """Refuse an input without the columns to read, or with those to write.

        `there` has the Arrow type of each column, or `None` if rows may differ.
        """
        for name in (*self.columns, *keep):
            if name not in there:
                raise LunosConfigError(f"there is no column {name!r}, but {', '.join(there)}")
            if name in self.columns and not str(there[name]).startswith(_TEXT):
                raise LunosConfigError(f"the column {name!r} holds no text, but {there[name]}")
            if name in keep and name in (self.label, "error"):
                raise LunosConfigError(f"the column {name!r} is to be written: rename yours")

    def key_of(self, text: str) -> bytes:
        """Return the key of a text's answer."""
        asked = f"{self.identity}\n{text}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(asked).digest()[:16]

    def text_of(self, row: Mapping[str, Any]) -> str:
        """Return the text or prompt of a row.

        Raises:
            ValueError: the row has no text, or one that is too long.
        """
        texts = {}
        for name in self.columns:
            text = row.get(name)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name!r} isn't text, or is empty: {type(text).__name__}")
            texts[name] = cut_to_tokens(text, self.most_tokens)
            if self.on_long == "refuse" and texts[name] != text:
                raise ValueError(f"{name!r} has about {estimate_tokens(text)} tokens: too long")
        if self.prompt is None:
            return texts[self.column]
        return _PLACE.sub(lambda m: texts[m[1]] if m[1] else m[0][0], self.prompt)
