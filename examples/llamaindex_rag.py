"""LlamaIndex answers questions about a folder, with its sources, through Lunos.

python examples/llamaindex_rag.py                    two questions
python examples/llamaindex_rag.py "my own question"  only that one

Without LUNOS_API_KEY the local gateway answers; with it, the live service does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _gateway import connect, run, table_by_app
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import UsageLedger

FOLDER = Path(__file__).parent / "docs"
QUESTIONS = (
    "Which HTTP header carries the app id?",
    "How often is a failed request retried by default?",
)


def main(questions: tuple[str, ...]) -> None:
    """Embed the folder, stream the answers and print their sources."""
    with connect() as connection, UsageLedger() as ledger:
        embedder, answerer = "openai/text-embedding-3-small", "openai/gpt-4o-mini"
        print(f"{embedder} embeds and {answerer} answers, at {connection.base_url}")
        service = {"api_base": connection.base_url, "api_key": connection.api_key}
        embedding = LunosEmbedding(embedder, app_id="rag-embed", **service)
        llm = Lunos(answerer, app_id="rag-answer", **service)
        index = VectorStoreIndex.from_documents(
            SimpleDirectoryReader(FOLDER).load_data(),
            transformations=[SentenceSplitter(chunk_size=150, chunk_overlap=0)],
            embed_model=embedding,
        )
        engine = index.as_query_engine(llm=llm, similarity_top_k=3, streaming=True)
        for question in questions:
            response = engine.query(question)
            print(f"\nQ: {question}\nA: ", end="")
            for piece in response.response_gen:
                print(piece, end="", flush=True)
            for number, source in enumerate(response.source_nodes, 1):
                words = " ".join(source.text.split())[:60]
                print(f"\n   [{number}] {source.metadata['file_name']}: {words}…", end="")
            print()
        print(f"\n{table_by_app(ledger)}")
        embedding.close()
        llm.close()


if __name__ == "__main__":
    run(lambda: main(tuple(sys.argv[1:]) or QUESTIONS))
