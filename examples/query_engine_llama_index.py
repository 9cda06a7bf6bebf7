"""A query engine of LlamaIndex over a store: the nodes that it finds, and an answer made of them.

    pip install ".[llama-index]"
    python examples/query_engine_llama_index.py

The language model here needs no network: it repeats what it was asked, so that you see the prompt. Put your own in its place.
"""

from __future__ import annotations

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.llama_index import SpladeRetriever

DOCUMENTS = [
    {"_id": "ctb", "text": "O prazo para recorrer da infração é de 30 dias, contados da notificação.", "ano": 1997},
    {"_id": "lai", "text": "O órgão público responde ao pedido de informação em até 20 dias.", "ano": 2011},
    {
        "_id": "lgpd",
        "text": "O titular pode pedir a eliminação dos dados pessoais tratados com o seu consentimento.",
        "ano": 2018,
    },
]


def main() -> None:
    with open_store("edge:leis.store", encoder="mini") as store:
        ingest(DOCUMENTS, store)
        retriever = SpladeRetriever(store, similarity_top_k=2, filters={"ano": {"gte": 2000}})
        engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
        answer = engine.query("em quantos dias a prefeitura tem de responder?")
    for found in answer.source_nodes:
        print(f"{found.score:.2f} {found.node.node_id}: {found.node.get_content()}")
    print(answer)


if __name__ == "__main__":
    main()
