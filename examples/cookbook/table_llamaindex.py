"""Extract a table from letters, one typed row each, as CSV (LlamaIndex).

python examples/cookbook/table_llamaindex.py [LETTER.txt ...]
"""

import asyncio
import sys
from pathlib import Path

from invoices import LETTERS, Invoice, write_table
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


async def main(letters: tuple[str, ...]) -> None:
    """Read four letters at a time."""
    llm = Lunos("openai/gpt-4o-mini", app_id="table")
    invoices = await run_jobs([read(llm, letter) for letter in letters], workers=4)
    await llm.aclose()
    write_table(letters, invoices)


if __name__ == "__main__":
    asyncio.run(main(tuple(Path(name).read_text("utf-8") for name in sys.argv[1:]) or LETTERS))
