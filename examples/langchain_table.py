"""Extract a table from letters, one typed row each, as CSV. A failure doesn't stop the rest.

Without LUNOS_API_KEY the local gateway answers with scripted responses: it fills the schema with
the text's numbers and names, without understanding them.

python examples/langchain_table.py
"""

from __future__ import annotations

from _gateway import connect, run
from _invoices import LETTERS, Invoice, write_table

from langchain_lunos import ChatLunos


def main() -> None:
    """Extract all letters, four at a time."""
    with connect() as connection:
        model = ChatLunos(
            model="openai/gpt-4o-mini" if connection.live else "lunos/scripted",
            base_url=connection.base_url,
            api_key=connection.api_key,
            app_id="table",
        )
        # with include_raw, what does not fit is an entry of the answer and no exception
        reader = model.with_structured_output(Invoice, include_raw=True)
        answers = reader.batch(list(LETTERS), {"max_concurrency": 4})
    write_table([answer["parsed"] for answer in answers])


if __name__ == "__main__":
    run(main)
