"""Extract a table from letters, one typed row each, as CSV. A failure doesn't stop the rest.

Without LUNOS_API_KEY the local gateway answers with scripted responses: it fills the schema with
the text's numbers and names, without understanding them.

python examples/llamaindex_table.py
"""

from __future__ import annotations

import asyncio

from _gateway import connect, run
from _invoices import LETTERS, Invoice, write_table
from llama_index.core.async_utils import run_jobs
from llama_index.core.prompts import PromptTemplate

from llama_index_lunos import Lunos
from lunos_core import LunosResponseError

PROMPT = PromptTemplate("Read the invoice.\n\n{letter}")


async def read(llm: Lunos, letter: str) -> Invoice | None:
    """Extract one invoice, or None if the answer isn't a valid invoice."""
    try:
        return await llm.astructured_predict(Invoice, PROMPT, letter=letter)
    except LunosResponseError:  # other errors aren't about this letter
        return None


async def main() -> None:
    """Extract all letters, four at a time."""
    with connect() as connection:
        llm = Lunos(
            "openai/gpt-4o-mini" if connection.live else "lunos/scripted",
            api_base=connection.base_url,
            api_key=connection.api_key,
            app_id="table",
        )
        invoices = await run_jobs([read(llm, letter) for letter in LETTERS], workers=4)
        await llm.aclose()
    write_table(invoices)


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
