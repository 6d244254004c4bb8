"""Answer questions from a folder of PDFs and Markdown, and cite the passages (LangChain).

python examples/cookbook/rag_langchain.py [FOLDER [QUESTION ...]]
"""

import re
import sys
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from pypdf import PdfReader

from langchain_lunos import ChatLunos, LunosEmbeddings

LIBRARY = Path(__file__).parent / "library"
QUESTIONS = (
    "How much is the deposit?",
    "What does a late bicycle cost for each hour?",
    "What do new brake pads cost?",
)
PROMPT = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Answer from the passages alone, in one or two sentences. After each fact, cite its "
            "passage by its number in brackets, such as [1].",
        ),
        ("human", "{passages}\n\nQuestion: {question}"),
    ]
)


def passages_of(path: Path) -> list[Document]:
    """Return a document for each page of a PDF, or for each section of a Markdown file."""
    if path.suffix == ".pdf":
        texts = [page.extract_text() for page in PdfReader(path).pages]
        places = [f"page {number}" for number in range(1, len(texts) + 1)]
    else:
        texts = re.split(r"^(?=#)", path.read_text("utf-8"), flags=re.MULTILINE)
        places = [text.partition("\n")[0].strip("# ") for text in texts]
    return [
        Document(text.strip(), metadata={"source": f"{path.name}, {place}"})
        for text, place in zip(texts, places, strict=True)
        if text.strip()
    ]


def main(folder: Path, questions: tuple[str, ...]) -> None:
    """Embed the folder, then answer each question with its sources."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".pdf", ".md"})
    if not files:
        sys.exit(f"no PDF or Markdown files in {folder}")
    passages = [passage for path in files for passage in passages_of(path)]
    store = InMemoryVectorStore(
        LunosEmbeddings(model="openai/text-embedding-3-small", app_id="library-embed")
    )
    store.add_documents(passages)
    print(f"{len(passages)} passages from {len(files)} files")
    chain = PROMPT | ChatLunos(model="openai/gpt-4o-mini", app_id="library-answer")
    for question in questions:
        nearest = store.similarity_search(question, k=3)
        numbered = "\n\n".join(f"[{i}] {p.page_content}" for i, p in enumerate(nearest, 1))
        answer = chain.invoke({"passages": numbered, "question": question}).text
        print(f"\n{question}\n{answer}")
        for i, passage in enumerate(nearest, 1):
            if f"[{i}]" in answer or not re.search(r"\[\d\]", answer):
                print(f"  [{i}] {passage.metadata['source']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else LIBRARY, tuple(sys.argv[2:]) or QUESTIONS)
