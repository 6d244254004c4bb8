"""LangChain answers questions about a folder of text, through Lunos.

python examples/quickstart.py                       three questions, and an agent with a tool
python examples/quickstart.py "my own question"     only that one

Without LUNOS_API_KEY the local gateway answers; with it, the live service does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from _gateway import Connection, connect, table_by_app
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_lunos import ChatLunos, LunosEmbeddings
from lunos_core import Catalog, Lunos, LunosError, UsageLedger

FOLDER = Path(__file__).parent / "docs"
MODEL = "openai/gpt-4o-mini"
EMBEDDING = "openai/text-embedding-3-small"
QUESTIONS = (
    "Which HTTP header carries the app id?",
    "How often is a failed request retried by default?",
    "What happens when a stream stops before its end?",
)
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer the question from the passages, in one or two sentences."),
        ("human", "{passages}\n\nQuestion: {question}"),
    ]
)


def read_passages(folder: Path) -> list[Document]:
    """Return a document for each paragraph below a heading."""
    passages = []
    for path in sorted(folder.glob("*.md")):
        heading = path.name
        for paragraph in path.read_text("utf-8").split("\n\n"):
            if paragraph.startswith("# "):
                heading = paragraph[2:].strip()
            elif paragraph.strip():
                source = {"source": f"{path.name}, {heading}"}
                passages.append(Document(paragraph.strip(), metadata=source))
    return passages


def answer(question: str, store: InMemoryVectorStore, model: ChatLunos) -> None:
    """Find the passages nearest to the question and stream an answer from them."""
    nearest = store.similarity_search(question, k=4)
    chain = PROMPT | model | StrOutputParser()
    print(f"\nQ: {question}\nA: ", end="")
    passages = "\n\n".join(passage.page_content for passage in nearest)
    for piece in chain.stream({"passages": passages, "question": question}):
        print(piece, end="", flush=True)
    sources = dict.fromkeys(passage.metadata["source"] for passage in nearest)
    print(f"\n   sources: {'; '.join(sources)}")


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def run_agent(task: str, model: ChatLunos) -> None:
    """Let the model call a tool and show each step."""
    agent = create_agent(model, tools=[multiply])
    print(f"\nAgent: {task}")
    for message in agent.invoke({"messages": [("human", task)]})["messages"][1:]:
        for call in getattr(message, "tool_calls", []):
            print(f"  calls {call['name']}({call['args']})")
        if message.text:
            print(f"  {'the tool' if message.type == 'tool' else 'the model'}: {message.text}")


def choose_models(args: argparse.Namespace, connection: Connection) -> tuple[str, str]:
    """Return the models that embed and that answer, and print where they run."""
    embedder, answerer = args.embedding_model or EMBEDDING, args.model or MODEL
    if connection.live:
        print(f"Using {connection.base_url} with LUNOS_API_KEY.")
        return embedder, answerer
    print(f"No LUNOS_API_KEY: a local gateway answers, on this machine ({connection.base_url}).")
    for task, name in (("embeddings", embedder), ("answers", answerer), ("agent", answerer)):
        print(f"  {task:<12}{SERVED_BY.get(name, name + ' itself')}")
    return embedder, answerer


SERVED_BY = {
    MODEL: f"{MODEL}: local/stand-in quotes the passages and calls tools",
    EMBEDDING: f"{EMBEDDING}: lunos/scripted-embedding hashes words",
}


def prices(connection: Connection) -> Catalog | None:
    """Fetch the catalog, for the cost of answers that don't state it."""
    catalog = Lunos(base_url=connection.base_url, api_key=connection.api_key).models
    try:
        catalog.list()
    except LunosError as error:
        print(f"  no catalog, so costs are known only where answers state them: {error}")
        return None
    return catalog


def run(args: argparse.Namespace, connection: Connection) -> None:
    """Embed the folder, ask the questions and run the agent."""
    if args.plot and find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install matplotlib")
    embedder, answerer = choose_models(args, connection)
    service = {
        "base_url": connection.base_url,
        "api_key": connection.api_key,
        "catalog": prices(connection),
    }
    embeddings = LunosEmbeddings(model=embedder, app_id="quickstart-embed", **service)
    model = ChatLunos(model=answerer, app_id="quickstart-rag", **service)
    with UsageLedger() as ledger:
        store = InMemoryVectorStore(embeddings)
        passages = read_passages(FOLDER)
        store.add_documents(passages)
        print(f"{len(passages)} passages from {FOLDER.name}/ are embedded.")
        for question in [args.question] if args.question else QUESTIONS:
            answer(question, store, model)
        if not args.question:
            # temperature 0: the same steps every time
            actor_model = ChatLunos(
                model=answerer, app_id="quickstart-agent", temperature=0, max_tokens=200, **service
            )
            run_agent("Multiply 128 and 46.", actor_model)
    print(f"\n{ledger.table() if args.wide else table_by_app(ledger)}")
    if args.plot:
        ledger.plot(args.plot)
        print(f"drawn: {args.plot}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; an error is one line on stderr and the exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", nargs="?", help="ask this instead of the three questions")
    parser.add_argument("--model", help="the chat model")
    parser.add_argument("--embedding-model")
    parser.add_argument("--wide", action="store_true", help="all columns of the table")
    parser.add_argument("--plot", help="draw cost and tokens into this file (needs matplotlib)")
    args = parser.parse_args(argv)
    try:
        with connect() as connection:
            run(args, connection)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (LunosError, ValueError, ImportError) as error:
        print(f"quickstart: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
