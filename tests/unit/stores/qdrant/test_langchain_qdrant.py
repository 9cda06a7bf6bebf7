"""SpladeSparseEmbeddings in langchain-qdrant, and collections that it and this package's store share, in both directions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeSparseEmbeddings, SpladeVectorStore
from splade_ptbr_connectors.stores import model_stamp
from splade_ptbr_connectors.stores.payloads import point_id
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from tests.support.encoders import HashingEncoder

TEXTS = ["vacina contra a gripe", "prazo para recorrer da multa", "multa de trânsito e prazo", "bolo de fubá"]
IDS = [str(uuid.UUID(int=n)) for n in range(1, 5)]
QUERIES = ["prazo da multa", "gripe", "palavra-desconhecida e bolo", "prazo prazo multa"]
DENSE = "dense"


class LetterEmbeddings(Embeddings):
    """How often each of six letters comes; never all zeros."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + text.count(letter) for letter in "aeiour"]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    monkeypatch.setattr(model_stamp, "_WARNED", set())
    client = QdrantClient(":memory:")
    yield client
    client.close()


def langchain_qdrant(client: QdrantClient, mode: RetrievalMode = RetrievalMode.SPARSE) -> QdrantVectorStore:
    return QdrantVectorStore(
        client,
        "docs",
        LetterEmbeddings() if mode is RetrievalMode.HYBRID else None,
        mode,
        vector_name=DENSE if mode is RetrievalMode.HYBRID else "",
        sparse_embedding=SpladeSparseEmbeddings(HashingEncoder()),
        distance=models.Distance.DOT,
    )


def ours(client: QdrantClient, **settings: object) -> QdrantStore:
    return QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings={"layout": "langchain", **settings})


def by_score(found: Iterable[tuple[Document, float]]) -> list[tuple[Document, float]]:
    """Best first; engines order ties as they like."""
    return sorted(found, key=lambda pair: (-pair[1], pair[0].page_content))


def shown(found: Iterable[tuple[Document, float]]) -> list[tuple[str, str, float]]:
    return [(document.page_content, document.metadata["title"], score) for document, score in by_score(found)]


async def test_vectors_are_the_encoders() -> None:
    encoder = HashingEncoder()
    embeddings = SpladeSparseEmbeddings(encoder)
    expected = [encoder.encode_query(text) for text in TEXTS]
    for found in (embeddings.embed_documents(TEXTS), await embeddings.aembed_documents(TEXTS)):
        assert [(each.indices, each.values) for each in found] == [(each.term_ids.tolist(), each.weights.tolist()) for each in expected]
    for each in (embeddings.embed_query(TEXTS[0]), await embeddings.aembed_query(TEXTS[0])):
        assert (each.indices, each.values) == (expected[0].term_ids.tolist(), expected[0].weights.tolist())
    empty = embeddings.embed_query("")
    assert (empty.indices, empty.values) == ([], [])


def test_by_default_it_loads_the_shipped_model() -> None:
    embeddings = SpladeSparseEmbeddings("mini-lexico")
    assert embeddings.embed_query("prazo").indices == embeddings.encoder.encode_query("prazo").term_ids.tolist() != []
    assert repr(embeddings) == "SpladeSparseEmbeddings('mini-lexico')"


def test_what_langchain_qdrant_fills_is_a_store_of_ours(client: QdrantClient) -> None:
    client.create_collection("docs", vectors_config={}, sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()})
    theirs = langchain_qdrant(client)
    theirs.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=IDS)
    with pytest.warns(model_stamp.UnknownOriginWarning):
        store = ours(client)
    retriever, vectors = SpladeRetriever(store=store), SpladeVectorStore(store)
    for query in QUERIES:
        expected = by_score(
            (Document(id=found.metadata["_id"], page_content=found.page_content, metadata={"n": found.metadata["n"]}), score)
            for found, score in theirs.similarity_search_with_score(query)
        )
        assert by_score(retriever.search_with_scores(query)) == by_score(vectors.similarity_search_with_score(query)) == expected != []
    assert vectors.delete([IDS[0]]) and theirs.similarity_search("gripe") == []


def test_what_our_store_fills_is_found_by_langchain_qdrant_string_ids_too(client: QdrantClient) -> None:
    vectors, ids = SpladeVectorStore(ours(client)), [IDS[0], "lei 8.112/90", "7", "ação"]
    assert vectors.add_texts(TEXTS, [{"title": f"Título {n}", "n": n} for n in range(4)], ids=ids) == ids
    theirs = langchain_qdrant(client)
    for query in QUERIES:
        found, expected = theirs.similarity_search_with_score(query), vectors.similarity_search_with_score(query)
        assert shown(found) == shown(expected) != []
    only = models.Filter(must=[models.FieldCondition(key="metadata.n", match=models.MatchValue(value=2))])
    assert [found.page_content for found in theirs.similarity_search("prazo multa", filter=only)] == [TEXTS[2]]
    [by_id] = theirs.get_by_ids([point_id("lei 8.112/90")])  # what langchain-qdrant knows it by
    assert by_id.page_content == TEXTS[1]
    theirs.delete([point_id("lei 8.112/90")])
    assert [document.id for document in vectors.get_by_ids(ids)] == [IDS[0], "7", "ação"]


def test_hybrid_collections_are_shared_too(client: QdrantClient) -> None:
    client.create_collection(
        "docs",
        vectors_config={DENSE: models.VectorParams(size=6, distance=models.Distance.DOT)},
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()},
    )
    theirs = langchain_qdrant(client, RetrievalMode.HYBRID)
    theirs.add_texts(TEXTS[:2], ids=IDS[:2])
    with pytest.warns(model_stamp.UnknownOriginWarning):
        store = ours(client, dense_size=6, dense_vector=DENSE)
    dense = LetterEmbeddings()
    vector, embedded = store.encoder.encode_query(TEXTS[2]), tuple(dense.embed_query(TEXTS[2]))
    store.upsert_vectors([("lei 8.112/90", vector, {"text": TEXTS[2]}, None, embedded)])
    retriever = SpladeRetriever(store=store, dense=dense, k=3)
    for query in QUERIES:
        found, expected = retriever.invoke(query), theirs.similarity_search(query, k=3)
        assert {document.page_content for document in found} == {document.page_content for document in expected} == set(TEXTS[:3])
    store.upsert_vectors([("7", vector, {"text": "sete"}, None, embedded)])  # its point id is an integer
    for fusion in ({}, {"rrf_k": 60}):
        assert {hit.doc_id: hit.payload["text"] for hit in store.search_hybrid(vector, embedded, 9, **fusion)}["7"] == "sete"
    store.delete(["7"])
    assert store.get([IDS[0]])[IDS[0]].dense == tuple(dense.embed_query(TEXTS[0]))
    theirs.delete([point_id("lei 8.112/90")])
    assert retriever.search_with_scores(TEXTS[2], 1)[0][0].id in IDS and store.get(["lei 8.112/90"]) == {}
