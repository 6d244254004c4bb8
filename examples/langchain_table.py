"""A table out of letters: one typed row each, as CSV; a wrong one does not stop the rest.

Without LUNOS_API_KEY a gateway on this machine answers, by rule: it fills the schema with the
numbers and names of the text, without understanding them.

python examples/langchain_table.py
"""

from __future__ import annotations

from _gateway import connect, run
from _invoices import LETTERS, Invoice, write_table

from langchain_lunos import ChatLunos


def main() -> None:
    """All of them at once, four at a time."""
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
