"""Retrieval-augmented generation with LangChain: a question, the passages that a store finds, an answer by a chat model.

    pip install ".[langchain]"
    python examples/rag_langchain.py

The chat model here needs no network: it repeats what it was asked, so that you see the prompt. Put your own in its place.
"""

from __future__ import annotations

from langchain_core.documents import Document
from langchain_core.language_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.langchain import SpladeRetriever

DOCUMENTS = [
    {"_id": "multas", "title": "Multas de trânsito", "text": "O prazo para recorrer da infração é de 30 dias, contados da notificação."},
    {"_id": "rematricula", "title": "Matrícula", "text": "A rematrícula é feita pela internet na segunda semana de janeiro."},
    {"_id": "bolo", "title": "Bolo de fubá", "text": "Misture o fubá, o leite e os ovos e asse por quarenta minutos."},
]
PROMPT = ChatPromptTemplate.from_template("Responda só com o que dizem os trechos.\n\n{passages}\n\nPergunta: {question}")


def as_text(documents: list[Document]) -> str:
    """The passages as the prompt has them, each behind the id that an answer may cite."""
    return "\n\n".join(f"[{document.id}] {document.page_content}" for document in documents)


def main() -> None:
    with open_store("edge:rag.store", encoder="mini") as store:
        ingest(DOCUMENTS, store)
        retriever = SpladeRetriever(store=store, k=2, title=True)
        chain = {"passages": retriever | as_text, "question": RunnablePassthrough()} | PROMPT | ParrotFakeChatModel() | StrOutputParser()
        print(chain.invoke("até quando posso contestar uma multa?"))


if __name__ == "__main__":
    main()
