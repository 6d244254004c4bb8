"""Index a folder of text in a Qdrant collection on disk. The second run embeds nothing.

Without LUNOS_API_KEY the local gateway answers: its model quotes from the passages.

python examples/llamaindex_rag_qdrant.py [folder for the database]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _gateway import Connection, connect, run
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import UsageLedger

FOLDER = Path(__file__).parent / "docs"
QUESTION = "Which HTTP header carries the app id?"


def open_index(client: QdrantClient, embedding: LunosEmbedding) -> VectorStoreIndex:
    """The index over the collection of that database; filled where it is new."""
    is_new = not client.collection_exists("docs")
    # without a server there is no index over payloads to make, and asking for one warns
    store = QdrantVectorStore("docs", client=client, index_doc_id=False)
    if not is_new:
        return VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    return VectorStoreIndex.from_documents(
        # the name alone: LlamaIndex embeds the metadata too, and a path is another on each machine
        SimpleDirectoryReader(
            FOLDER, file_metadata=lambda path: {"file_name": Path(path).name}
        ).load_data(),
        transformations=[SentenceSplitter(chunk_size=150, chunk_overlap=0)],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embedding,
    )


def ask(connection: Connection, database: Path) -> None:
    """Open the database, answer, and say what it took."""
    service = {"api_base": connection.base_url, "api_key": connection.api_key}
    embedding = LunosEmbedding("openai/text-embedding-3-small", app_id="embed", **service)
    llm = Lunos("openai/gpt-4o-mini", app_id="answer", **service)
    client = QdrantClient(path=str(database))
    with UsageLedger() as ledger:
        engine = open_index(client, embedding).as_query_engine(llm=llm, similarity_top_k=3)
        answer = engine.query(QUESTION)
        print(f"Q: {QUESTION}\nA: {answer}")
        print(f"   nearest: {answer.source_nodes[0].metadata['file_name']}")
        rows = {row["app_id"]: row for row in ledger.rows()}
        print(f"   {client.count('docs').count} passages on disk,", end=" ")
        print(f"{rows['embed']['input_tokens']} tokens embedded")
    client.close()
    embedding.close()
    llm.close()


def main(database: Path) -> None:
    """Twice: the second time the passages are there."""
    with connect() as connection:
        ask(connection, database)
        ask(connection, database)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(lambda: main(Path(sys.argv[1] if sys.argv[1:] else temporary) / "qdrant"))
