"""Letters, and the invoice to read from each; shared by table_langchain and table_llamaindex."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

from pydantic import BaseModel, Field, model_validator

LETTERS = (
    'Invoice for "Ada Lovelace": 3 of "difference engine" at 1200.50, in total 3601.50.',
    'Invoice for "Alan Turing": 2 of "paper tape" at 9.99, in total 19.98.',
    'Invoice for "Grace Hopper": 10 of "nanosecond wire" at 0.30, in total 30.00.',
)


class Invoice(BaseModel):
    """An invoice."""

    customer: str = Field(description="Who pays.")
    item: str
    quantity: int = Field(ge=1)
    price: float = Field(description="For one.")
    total: float

    # a JSON schema can't express this, so no model is bound to it
    @model_validator(mode="after")
    def _adds_up(self) -> Invoice:
        if abs(self.quantity * self.price - self.total) > 0.005:
            raise ValueError(f"{self.quantity} times {self.price} is not {self.total}")
        return self


def write_table(letters: Sequence[str], invoices: Sequence[Invoice | None]) -> None:
    """Write the invoices as CSV, and list the letters without any."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(Invoice.model_fields)
    table.writerows(row.model_dump().values() for row in invoices if row is not None)
    for letter, row in zip(letters, invoices, strict=True):
        if row is None:
            print(f"left out: {letter}")
