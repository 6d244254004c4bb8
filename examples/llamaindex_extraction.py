"""Extract objects from text, whole and while they are streamed.

Without LUNOS_API_KEY the local gateway answers with scripted responses: it fills the schema with
the text's numbers and names, without understanding them.

python examples/llamaindex_extraction.py
"""

from __future__ import annotations

from _gateway import connect, run
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel, Field

from llama_index_lunos import Lunos
from lunos_core import UsageLedger

TEXT = 'Invoice for "Ada Lovelace": 3 of "difference engine" and nothing else.'


class Invoice(BaseModel):
    """An invoice."""

    customer: str = Field(description="Who pays.")
    item: str
    quantity: int = Field(ge=1)


def main() -> None:
    """One text, three forms."""
    prompt = PromptTemplate("Read the invoice.\n\n{text}")
    with connect() as connection, UsageLedger() as ledger:
        llm = Lunos(
            "openai/gpt-4o-mini",
            api_base=connection.base_url,
            api_key=connection.api_key,
            app_id="extraction",
            system_prompt="You read invoices.",
        )
        print("whole:   ", repr(llm.structured_predict(Invoice, prompt, text=TEXT)))
        for invoice in llm.stream_structured_predict(Invoice, prompt, text=TEXT):
            print("growing: ", repr(invoice))
        by_tool = llm.model_copy(update={"structured_output": "function_calling"})
        print("as a LLM:", repr(by_tool.as_structured_llm(Invoice).complete(TEXT).raw))
        print(f"\n{ledger.table()}")
        llm.close()
        by_tool.close()


if __name__ == "__main__":
    run(main)
