"""Answer from a folder of text in a Qdrant collection on disk. A second run embeds nothing.

Without LUNOS_API_KEY the local gateway answers: its model quotes from the passages.

python examples/langchain_rag_qdrant.py [folder for the database]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _gateway import Connection, connect, run
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from langchain_lunos import ChatLunos, LunosEmbeddings
from lunos_core import UsageLedger

FOLDER = Path(__file__).parent / "docs"
QUESTION = "Which HTTP header carries the app id?"
PROMPT = ChatPromptTemplate.from_template(
    "Answer the question from the passages.\n\n{passages}\n\nQuestion: {question}"
)


def passages() -> list[Document]:
    """One for each paragraph."""
    return [
        Document(paragraph, metadata={"source": path.name})
        for path in sorted(FOLDER.glob("*.md"))
        for paragraph in path.read_text("utf-8").split("\n\n")
        if not paragraph.startswith("#")
    ]


def open_store(database: Path, embeddings: LunosEmbeddings) -> QdrantVectorStore:
    """The collection in that folder; filled where it is new."""
    client = QdrantClient(path=str(database))
    is_new = not client.collection_exists("docs")
    if is_new:
        size = len(embeddings.embed_query("How long is a vector?"))
        client.create_collection("docs", VectorParams(size=size, distance=Distance.COSINE))
    store = QdrantVectorStore(client, "docs", embeddings)
    if is_new:
        store.add_documents(passages())
    return store


def ask(connection: Connection, database: Path) -> None:
    """Open the database, answer, and say what it took."""
    service = {"base_url": connection.base_url, "api_key": connection.api_key}
    embeddings = LunosEmbeddings(model="openai/text-embedding-3-small", app_id="embed", **service)
    model = ChatLunos(model="openai/gpt-4o-mini", app_id="answer", **service)
    chain = PROMPT | model | StrOutputParser()
    with UsageLedger() as ledger:
        store = open_store(database, embeddings)
        nearest = store.similarity_search(QUESTION, k=3)
        text = "\n\n".join(passage.page_content for passage in nearest)
        print(f"Q: {QUESTION}\nA: {chain.invoke({'passages': text, 'question': QUESTION})}")
        print(f"   nearest: {nearest[0].metadata['source']}")
        rows = {row["app_id"]: row for row in ledger.rows()}
        print(f"   {store.client.count('docs').count} passages on disk,", end=" ")
        print(f"{rows['embed']['input_tokens']} tokens embedded")
        store.client.close()


def main(database: Path) -> None:
    """Twice: the second time the passages are there."""
    with connect() as connection:
        ask(connection, database)
        ask(connection, database)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(lambda: main(Path(sys.argv[1] if sys.argv[1:] else temporary) / "qdrant"))
