"""Evaluate whether sources support an answer, with another model as the judge.

Without LUNOS_API_KEY the local gateway answers with scripted responses: its verdicts only show how
the parts fit together.

python examples/llamaindex_evaluation.py
"""

from __future__ import annotations

import asyncio

from _gateway import connect, run
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.evaluation import FaithfulnessEvaluator

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import UsageLedger

TEXTS = (
    "The Lunos gateway names applications in the header X-App-ID.",
    "A failed request is retried up to two times.",
)


async def main() -> None:
    """Answer, and judge the answer; the judge's cost is counted apart."""
    with connect() as connection, UsageLedger() as ledger:
        service = {"api_base": connection.base_url, "api_key": connection.api_key}
        llm = Lunos("openai/gpt-4o-mini", app_id="answers", **service)
        judging = Lunos("openai/gpt-4o", app_id="judge", **service)
        embedding = LunosEmbedding("openai/text-embedding-3-small", app_id="answers", **service)
        index = VectorStoreIndex([], embed_model=embedding)
        for text in TEXTS:
            await index.ainsert(Document(text=text, metadata={"source": "manual"}))
        evaluator = FaithfulnessEvaluator(llm=judging)
        for question in ("Which header names the application?", "How often is a request repeated?"):
            response = await index.as_query_engine(llm=llm).aquery(question)
            verdict = await evaluator.aevaluate_response(query=question, response=response)
            print(f"Q: {question}\nA: {response}\n   borne out by its sources: {verdict.passing}")
        print(f"\n{ledger.table()}")
        for closed in (llm, judging, embedding):
            await closed.aclose()


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
