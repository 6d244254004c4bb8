"""Extract a table from letters, one typed row each, as CSV (LangChain).

python examples/cookbook/table_langchain.py [LETTER.txt ...]
"""

import sys
from pathlib import Path

from invoices import LETTERS, Invoice, write_table

from langchain_lunos import ChatLunos


def main(letters: tuple[str, ...]) -> None:
    """Read four letters at a time; what doesn't fit is reported and doesn't stop the rest."""
    llm = ChatLunos(model="openai/gpt-4o-mini", app_id="table")
    # with include_raw, an answer that doesn't fit is an entry of the result, not an exception
    reader = llm.with_structured_output(Invoice, include_raw=True)
    answers = reader.batch(list(letters), {"max_concurrency": 4})
    write_table(letters, [answer["parsed"] for answer in answers])


if __name__ == "__main__":
    main(tuple(Path(name).read_text("utf-8") for name in sys.argv[1:]) or LETTERS)
