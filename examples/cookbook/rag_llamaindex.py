"""Answer questions from a folder of PDFs and Markdown, and cite the passages (LlamaIndex).

python examples/cookbook/rag_llamaindex.py [FOLDER [QUESTION ...]]
"""

import sys
from pathlib import Path

from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document
from pypdf import PdfReader

from llama_index_lunos import Lunos, LunosEmbedding

LIBRARY = Path(__file__).parent / "library"
QUESTIONS = (
    "How much is the deposit?",
    "What does a late bicycle cost for each hour?",
    "What do new brake pads cost?",
)


class PDFPages(BaseReader):
    """Reads each page of a PDF as a document; `llama-index-readers-file` has one like it."""

    def load_data(self, file: Path, extra_info: dict | None = None) -> list[Document]:
        """Return a document for each page."""
        return [
            Document(text=page.extract_text(), metadata={**(extra_info or {}), "page": number})
            for number, page in enumerate(PdfReader(file).pages, 1)
        ]


def main(folder: Path, questions: tuple[str, ...]) -> None:
    """Embed the folder, then answer each question with its sources."""
    documents = SimpleDirectoryReader(
        folder, required_exts=[".pdf", ".md"], file_extractor={".pdf": PDFPages()}
    ).load_data()
    embedding = LunosEmbedding("openai/text-embedding-3-small", app_id="library-embed")
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    llm = Lunos("openai/gpt-4o-mini", app_id="library-answer")
    engine = CitationQueryEngine.from_args(index, llm=llm, similarity_top_k=2)
    print(f"{len(documents)} documents")
    for question in questions:
        response = engine.query(question)
        print(f"\n{question}\n{response}")
        for i, source in enumerate(response.source_nodes, 1):
            place = f", page {page}" if (page := source.metadata.get("page")) else ""
            print(f"  [{i}] {source.metadata['file_name']}{place}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else LIBRARY, tuple(sys.argv[2:]) or QUESTIONS)
