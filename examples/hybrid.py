"""Hybrid search: words and meaning. Sparse vectors find the terms of a question, dense ones what it is about; a weighted sum of both
scores ranks the documents.

    pip install ".[langchain,dense]"
    python examples/hybrid.py

The dense encoder is multilingual-e5-small in 4 bits: no server, no torch, no download.
"""

from __future__ import annotations

from splade_ptbr_connectors import E5Encoder, ingest, open_store, with_dense
from splade_ptbr_connectors.langchain import E5Embeddings, SpladeRetriever

DOCUMENTS = [
    {"_id": "rescisao", "text": "O empregado dispensado sem justa causa recebe aviso prévio, férias proporcionais e a multa do FGTS."},
    {"_id": "portaria-671", "text": "A Portaria 671 disciplina o registro eletrônico da jornada de trabalho."},
    {"_id": "portaria-612", "text": "A Portaria 612 trata do exame médico de quem é admitido no trabalho."},
    {"_id": "bateria", "text": "Se o motor não pega, verifique a bateria antes de chamar o guincho."},
    {"_id": "bolo", "text": "Misture o fubá, o leite e os ovos e asse por quarenta minutos."},
]
QUESTIONS = ("o veículo morreu na garagem", "fui mandado embora, o que me pagam?", "portaria 671")


def main() -> None:
    encoder = E5Encoder()
    with open_store("edge:hybrid.store", encoder="mini", settings={"dense_size": encoder.size}) as store:
        ingest(with_dense(DOCUMENTS, encoder.encode_documents), store)
        sparse = SpladeRetriever(store=store, k=2)
        hybrid = SpladeRetriever(store=store, k=2, dense=E5Embeddings(encoder))
        for question in QUESTIONS:
            print(question)
            for name, retriever in (("sparse", sparse), ("hybrid", hybrid)):
                print(f"  {name}: {', '.join(document.id or '' for document in retriever.invoke(question))}")


if __name__ == "__main__":
    main()
