"""Vector stores with an embedding model: what is added has its dense vector, and every search is the store's own hybrid one."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from qdrant_client import QdrantClient

from splade_ptbr_connectors.errors import ConfigError, ModelFormatError, VectorError
from splade_ptbr_connectors.langchain import SpladeRetriever as LangChainRetriever
from splade_ptbr_connectors.langchain import SpladeVectorStore as LangChainStore
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.llama_index import SpladeVectorStore as LlamaIndexStore
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.qdrant.store import QdrantStore
from tests.support.embeddings import LETTERS, LetterEmbedding, LetterEmbeddings, embed
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore
from tests.support.vector_store_suite import VectorStoreSuite

from .conftest import QUERIES, TEXTS

pytest.importorskip("numba")
DENSE = {"dense_size": len(LETTERS)}
FUSIONS: list[dict[str, Any]] = [{}, {"dense_weight": 0.75, "prefetch": 4}, {"rrf_k": 7}, {"dense_weight": 0}, {"dense_weight": 1}]
DOCUMENTS = [Document(id=f"d{n:02}", page_content=text, metadata={"title": f"Título {n}", "n": n}) for n, text in enumerate(TEXTS)]
NODES = [TextNode(id_=f"d{n:02}", text=text, metadata={"n": n}) for n, text in enumerate(TEXTS)]


@pytest.fixture(params=["edge", "qdrant"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "edge":
        opened: Store = open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), settings=DENSE)
    else:
        opened = QdrantStore.from_client(QdrantClient(":memory:"), "leis", encoder=HashingEncoder(), settings=DENSE)
    with opened:
        yield opened


class TestLangChainsSuite(VectorStoreSuite):
    """Any document is a hit of any query here, as the suite wants it: a dense search finds what has no term of it."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[LangChainStore]:
        with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), settings=DENSE) as store:
            yield LangChainStore(store, dense=LetterEmbeddings())


def shown(hits: Any) -> list[tuple[str, float]]:
    return [(hit.doc_id, pytest.approx(hit.score)) for hit in hits]


# -- LangChain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
@pytest.mark.parametrize("query", QUERIES)
async def test_langchain_adds_dense_vectors_and_searches_as_the_store_and_the_retriever(
    store: Store, query: str, fusion: dict[str, Any]
) -> None:
    vectors = LangChainStore(store, dense=LetterEmbeddings(), **fusion)
    vectors.add_documents(DOCUMENTS)
    for number, entry in enumerate(store.get([str(each.id) for each in DOCUMENTS]).values()):
        assert entry.dense == tuple(embed(f"Título {number} {TEXTS[number]}"))
    expected = store.search_hybrid(query, embed(query), 5, **fusion)
    assert len(expected) >= 4
    found = vectors.similarity_search_with_score(query, 5)
    assert [(document.id, score) for document, score in found] == shown(expected)
    assert found == await vectors.asimilarity_search_with_score(query, 5)
    assert [document for document, _ in found] == LangChainRetriever(store=store, k=5, dense=LetterEmbeddings(), **fusion).invoke(query)
    early = store.search_hybrid(query, embed(query), 5, filter={"metadata.n": {"lt": 3}}, min_score=0.1, **fusion)
    narrowed = vectors.similarity_search(query, 5, filter={"n": {"lt": 3}}, min_score=0.1)
    assert narrowed == [DOCUMENTS[int(hit.doc_id[1:])] for hit in early]


def test_relevance_of_a_hybrid_search_is_its_score_from_0_to_1(store: Store) -> None:
    vectors = LangChainStore(store, dense=LetterEmbeddings())
    vectors.add_documents(DOCUMENTS)
    found = vectors.similarity_search_with_relevance_scores("prazo da vacina", 12)
    assert found == vectors.similarity_search_with_score("prazo da vacina", 12)
    assert all(0 <= score <= 1 for _, score in found) and len({score for _, score in found}) > 3


async def test_langchain_writes_deletes_and_looks_up_asynchronously(store: Store) -> None:
    dense = LetterEmbeddings()
    vectors = LangChainStore(store, dense=dense)
    await vectors.aadd_documents(DOCUMENTS[:3])
    assert [each.dense for each in (await store.aget(["d00", "d01", "d02"])).values()] == [
        tuple(embed(f"Título {number} {TEXTS[number]}")) for number in range(3)
    ]
    assert await vectors.aget_by_ids(["d02", "none", "d00"]) == [DOCUMENTS[2], DOCUMENTS[0]]
    await vectors.asimilarity_search("vacina")
    assert await vectors.adelete(["d02"]) and {each.id for each in vectors.similarity_search("vacina", 9)} == {"d00", "d01"}
    assert dense.calls == ["aembed_documents", "aembed_query", "embed_query"] and vectors.embeddings is dense


def test_what_is_stored_unchanged_is_not_written_again_and_a_record_manager_embeds_nothing_twice(store: Store) -> None:
    dense, manager = LetterEmbeddings(), InMemoryRecordManager("leis")
    vectors = LangChainStore(store, dense=dense)
    manager.create_schema()
    before = store.encoder.texts_encoded  # type: ignore[attr-defined]
    for added in (12, 0):
        done = index(DOCUMENTS, manager, vectors, cleanup="full", source_id_key="n", key_encoder="sha256")
        assert done["num_added"] == added
    assert dense.documents == 12
    vectors.add_documents(DOCUMENTS), vectors.add_documents(DOCUMENTS)
    assert store.encoder.texts_encoded == before + 24  # type: ignore[attr-defined]  # by the manager's ids, then by theirs


def test_maximal_marginal_relevance_takes_documents_without_terms_and_scores_of_zero(tmp_path: Path) -> None:
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), settings=DENSE) as store:
        vectors = LangChainStore(store, dense=LetterEmbeddings(), dense_weight=0)
        vectors.add_texts(["...", "vacina", "bolo"], ids=["a", "b", "c"])
        assert sorted(str(each.id) for each in vectors.max_marginal_relevance_search("febre")) == ["a", "b", "c"]
        assert vectors.max_marginal_relevance_search("vacina", 1)[0].id == "b"


# -- LlamaIndex --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
@pytest.mark.parametrize("query", QUERIES)
async def test_llama_index_keeps_embeddings_and_searches_as_the_store_and_the_retriever(
    store: Store, query: str, fusion: dict[str, Any]
) -> None:
    vectors, given = LlamaIndexStore(store, dense=LetterEmbedding(), **fusion), [3.0] * len(LETTERS)
    brings = NODES[0].model_copy(update={"embedding": given})
    vectors.add([brings, *NODES[1:6]])
    await vectors.async_add(NODES[6:])
    for number, entry in enumerate(store.get([node.node_id for node in NODES]).values()):
        assert entry.dense == (tuple(embed(f"n: {number} {TEXTS[number]}")) if number else tuple(given))
    expected = shown(store.search_hybrid(query, embed(query), 5, **fusion))
    asked = VectorStoreQuery(query_str=query, similarity_top_k=5)
    for result in (vectors.query(asked), await vectors.aquery(asked)):
        assert list(zip(result.ids or [], result.similarities or [], strict=True)) == expected
    nodes = LlamaIndexRetriever(store, 5, dense=LetterEmbedding(), **fusion).retrieve(query)
    assert [(each.node_id, each.score) for each in nodes] == expected
    assert vectors.get_nodes(["d07"]) == [NODES[7]]
    await vectors.adelete_nodes(["d07"])
    assert "d07" not in (vectors.query(VectorStoreQuery(query_str=query, similarity_top_k=12)).ids or [])


def test_the_mode_of_a_query_says_how_to_search(store: Store) -> None:
    vectors = LlamaIndexStore(store, dense=LetterEmbedding())
    vectors.add(NODES)
    query, other = "prazo da multa", [1.0, *[0.0] * 9]

    def found(mode: VectorStoreQueryMode, **of: Any) -> list[tuple[str, float]]:
        result = vectors.query(VectorStoreQuery(query_str=query, similarity_top_k=4, mode=mode, **of))
        return list(zip(result.ids or [], result.similarities or [], strict=True))

    for mode in (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH):
        assert found(mode) == found(mode, query_embedding=other, alpha=0.5) == shown(store.search(query, 4))
    hybrid = VectorStoreQueryMode.HYBRID
    assert found(hybrid) == found(VectorStoreQueryMode.DEFAULT) == shown(store.search_hybrid(query, embed(query), 4))
    assert found(hybrid, alpha=0.9) == shown(store.search_hybrid(query, embed(query), 4, dense_weight=0.9))
    assert found(hybrid, hybrid_top_k=2) == found(hybrid)[:2]
    assert found(hybrid, query_embedding=other) == shown(store.search_hybrid(query, other, 4))
    with pytest.raises(ConfigError, match="not supported: use default, sparse, text_search, hybrid"):
        found(VectorStoreQueryMode.MMR)
    with pytest.raises(ConfigError, match="give one of them"):
        LlamaIndexStore(store, dense=LetterEmbedding(), rrf_k=9).query(VectorStoreQuery(query_str=query, alpha=0.5))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_indexes_and_pipelines_of_the_same_model_are_hybrid(store: Store, asynchronous: bool) -> None:
    model = LetterEmbedding()
    vectors = LlamaIndexStore(store, dense=model)
    made = VectorStoreIndex.from_vector_store(vectors, embed_model=model, use_async=asynchronous)
    made.insert_nodes(NODES)
    pipeline = IngestionPipeline(transformations=[model], vector_store=vectors)
    last = TextNode(id_="novo", text="multa nova")
    _ = asyncio.run(pipeline.arun(nodes=[last])) if asynchronous else pipeline.run(nodes=[last])
    retriever = made.as_retriever(similarity_top_k=3, vector_store_query_mode="hybrid", alpha=0.5)
    got = asyncio.run(retriever.aretrieve("multa")) if asynchronous else retriever.retrieve("multa")
    assert [(each.node_id, each.score) for each in got] == shown(store.search_hybrid("multa", embed("multa"), 3, dense_weight=0.5))
    assert store.count() == 13 and all(entry.dense for entry in store.scan())


def test_a_pickled_one_is_hybrid_as_well(tmp_path: Path) -> None:
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), settings=DENSE) as store:
        first, other = LangChainStore(store, dense=LetterEmbeddings()), LlamaIndexStore(store, dense=LetterEmbedding(), dense_weight=0.5)
        first.add_documents(DOCUMENTS)
        again, twin = pickle.loads(pickle.dumps((first, other)))  # noqa: S301 - our own bytes
        assert again.similarity_search("febre") == first.similarity_search("febre") and len(again.similarity_search("febre")) == 4
        asked = VectorStoreQuery(query_str="febre", similarity_top_k=4)
        assert twin.query(asked) == other.query(asked) and (twin.dense_weight, type(twin.dense)) == (0.5, LetterEmbedding)
        assert "dense=" not in repr(other) and "dense" not in other.to_dict()


# -- bad input ---------------------------------------------------------------------------------------------------------

MAKE: list[Callable[..., Any]] = [
    lambda store, **options: LangChainStore(store, **{"dense": LetterEmbeddings()} | options),
    lambda store, **options: LlamaIndexStore(store, **{"dense": LetterEmbedding()} | options),
]


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("engine", ["edge", "numba"])
def test_a_store_without_dense_vectors_is_refused_at_once(tmp_path: Path, engine: str, make: Callable[..., Any]) -> None:
    with (
        open_store(f"{engine}:{tmp_path}/store", encoder=HashingEncoder()) as store,
        pytest.raises(ConfigError, match=rf"store {engine}:.* keeps no dense vectors: create one .* dense_size"),
    ):
        make(store)


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"dense": HashingEncoder()}, r"dense is a HashingEncoder: it must be an embedding model of L.*such as E5Embedding"),
        ({"rrf_k": 0}, "rrf_k"),
        ({"dense_weight": 2}, "dense_weight"),
        ({"prefetch": 0}, "prefetch"),
        ({"rrf_k": 60, "dense_weight": 0.5}, "give one of them"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, make: Callable[..., Any], bad: dict[str, Any], told: str) -> None:
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), settings=DENSE) as store, pytest.raises(ConfigError, match=told):
        make(store, **bad)


def test_vectors_of_another_size_or_number_store_nothing(store: Store) -> None:
    with pytest.raises(VectorError, match=r"1 numbers.* keeps dense vectors of 10|has 1 "):
        VectorStoreIndex.from_vector_store(
            LlamaIndexStore(store, dense=LetterEmbedding()), embed_model=MockEmbedding(embed_dim=1)
        ).insert_nodes(NODES)

    class Forgetful(LetterEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return super().embed_documents(texts[1:])

    with pytest.raises(ModelFormatError, match="gave 11 vectors for 12 texts"):
        LangChainStore(store, dense=Forgetful()).add_documents(DOCUMENTS)
    assert store.count() == 0


async def test_an_embedding_of_a_query_may_be_an_array_but_not_empty(store: Store) -> None:
    vectors = LlamaIndexStore(store, dense=LetterEmbedding())
    vectors.add(NODES)
    expected = shown(store.search_hybrid("multa", embed("prazo"), 4))
    asked = VectorStoreQuery(query_str="multa", similarity_top_k=4, query_embedding=np.array(embed("prazo")))  # type: ignore[arg-type]
    for result in (vectors.query(asked), await vectors.aquery(asked)):
        assert list(zip(result.ids or [], result.similarities or [], strict=True)) == expected
    with pytest.raises(VectorError, match="empty"):
        vectors.query(VectorStoreQuery(query_str="multa", query_embedding=[]))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_model_that_is_false_is_a_model(store: Store, asynchronous: bool) -> None:
    class Empty(LetterEmbeddings):
        def __len__(self) -> int:
            return 0

    vectors = LangChainStore(store, dense=Empty())
    _ = asyncio.run(vectors.aadd_documents(DOCUMENTS)) if asynchronous else vectors.add_documents(DOCUMENTS)
    assert all(entry.dense for entry in store.scan())


def test_the_stores_of_this_package_say_how_long_their_dense_vectors_are(store: Store) -> None:
    assert store.dense_size == len(LETTERS) and MemoryStore(HashingEncoder()).dense_size is None
