"""Hybrid retrieval is the store's own, with the retriever's settings; no filter of a retriever reaches another tenant."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import QueryBundle
from pydantic import ValidationError

from splade_ptbr_connectors.errors import ConfigError, StoreClosedError
from splade_ptbr_connectors.langchain import SpladeRetriever as LangChainRetriever
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Hit, HybridSearch
from splade_ptbr_connectors.stores.fusion import ReciprocalRanks, WeightedSum
from tests.support.embeddings import LETTERS, LetterEmbedding, LetterEmbeddings, embed
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore


class Recording(MemoryStore):
    """Answers every hybrid search with one hit, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(HashingEncoder())
        self.asked: list[tuple[Any, ...]] = []

    @property
    def dense_size(self) -> int:
        return len(LETTERS)

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        self.asked.append(search)
        return [Hit("d1", 0.5, {"text": "café"})]


async def test_langchain_asks_the_store_for_a_hybrid_search_with_its_settings() -> None:
    store, dense = Recording(), LetterEmbeddings()
    retriever = LangChainRetriever(store=store, k=3, dense=dense, prefetch=7, rrf_k=11, score_key="score")
    found = [retriever.invoke("café", k=2), await retriever.ainvoke("café", k=2)]
    assert [[(document.id, document.metadata["score"]) for document in documents] for documents in found] == [[("d1", 0.5)]] * 2
    assert store.asked == [(store.encoder.encode_query("café"), tuple(embed("café")), 2, 7, ReciprocalRanks(11), ())] * 2
    LangChainRetriever(store=store, dense=dense, dense_weight=0.25).invoke("café")
    assert store.asked[-1].fusion == WeightedSum(0.25)
    assert dense.calls[:2] == ["embed_query", "aembed_query"]


def test_a_score_that_no_document_can_have_is_refused() -> None:
    store, dense = Recording(), LetterEmbeddings()
    for fused, above, most in (({}, 1.01, "1"), ({"rrf_k": 60}, 0.04, "0.0328"), ({"rrf_k": 1}, 5.0, "1")):
        with pytest.raises(ConfigError, match=f"min_score is {above}: no score of this hybrid search is above {most};"):
            LangChainRetriever(store=store, dense=dense, min_score=above, **fused).invoke("café")  # type: ignore[arg-type]
    assert len(LangChainRetriever(store=store, dense=dense, min_score=0.5).invoke("café")) == 1
    assert LangChainRetriever(store=store, dense=dense, min_score=1).invoke("café") == []


async def test_llama_index_asks_the_store_for_a_hybrid_search_with_its_settings() -> None:
    store = Recording()
    retriever = LlamaIndexRetriever(store, 2, dense=LetterEmbedding(), prefetch=7, rrf_k=11)
    found = [retriever.retrieve("café"), await retriever.aretrieve("café")]
    assert [[(node.node_id, node.score) for node in nodes] for nodes in found] == [[("d1", 0.5)]] * 2
    assert store.asked == [(store.encoder.encode_query("café"), tuple(embed("café")), 2, 7, ReciprocalRanks(11), ())] * 2
    LlamaIndexRetriever(store, dense=LetterEmbedding(), dense_weight=0.25).retrieve("café")
    assert store.asked[-1].fusion == WeightedSum(0.25)


def test_an_embedding_that_a_query_bundle_brings_is_used() -> None:
    store = Recording()
    LlamaIndexRetriever(store, 2, dense=LetterEmbedding()).retrieve(QueryBundle("café", embedding=[0.5, 2.0]))
    assert store.asked[0][1] == (0.5, 2.0)


def test_without_dense_vectors_in_the_engine_it_is_an_error_and_no_sparse_search() -> None:
    store = MemoryStore(HashingEncoder())
    with pytest.raises(ConfigError, match="no dense vectors"):
        LangChainRetriever(store=store, dense=LetterEmbeddings()).invoke("café")
    with pytest.raises(ConfigError, match="no dense vectors"):
        LlamaIndexRetriever(store, dense=LetterEmbedding()).retrieve("café")


@pytest.mark.parametrize(
    "bad",
    [
        {"rrf_k": 0},
        {"rrf_k": True},
        {"rrf_k": 1.5},
        {"prefetch": 0},
        {"prefetch": 10_001},
        {"prefetch": "3"},
        {"dense_weight": 2},
        {"dense_weight": "0.5"},
        {"rrf_k": 60, "dense_weight": 0.5},
        {"best": 2},
    ],
    ids=str,
)
def test_bad_settings_of_the_fusion_are_refused_at_construction(bad: dict[str, Any]) -> None:
    name = next(iter(bad))
    with pytest.raises(ConfigError, match=name):
        LangChainRetriever(store=Recording(), dense=LetterEmbeddings(), **bad)
    with pytest.raises(ConfigError, match=name):
        LlamaIndexRetriever(Recording(), dense=LetterEmbedding(), **bad)


@pytest.mark.parametrize("unused", [{"dense_weight": 0.3}, {"rrf_k": 60}, {"prefetch": 50}], ids=str)
def test_settings_of_the_fusion_need_a_dense_model(unused: dict[str, Any]) -> None:
    for make in (LangChainRetriever, LlamaIndexRetriever):
        with pytest.raises(ConfigError, match=f"{next(iter(unused))} is .*: give the model"):
            make(store=Recording(), **unused)


def test_a_dense_model_needs_a_store_with_dense_vectors() -> None:
    store = MemoryStore(HashingEncoder())
    with pytest.raises(ConfigError, match="keeps no dense vectors"):
        LangChainRetriever(store=store, dense=LetterEmbeddings())
    with pytest.raises(ConfigError, match="keeps no dense vectors"):
        LlamaIndexRetriever(store, dense=LetterEmbedding())
    with pytest.raises(ConfigError, match="dense is a str: it must be an embedding model of LlamaIndex"):
        LlamaIndexRetriever(Recording(), dense="e5")
    with pytest.raises(ConfigError, match="dense is a str: it must be an embedding model of LangChain"):
        LangChainRetriever(store=Recording(), dense="e5")


def test_what_is_no_settings_at_all_is_told_by_pydantic() -> None:
    with pytest.raises(ValidationError):
        LangChainRetriever.model_validate("k=3")


def test_the_embedding_model_is_in_no_repr_and_no_serialisation() -> None:
    retriever = LangChainRetriever(store=Recording(), dense=LetterEmbeddings())
    assert "LetterEmbeddings" not in repr(retriever) and "dense" not in retriever.model_dump()


async def test_hybrid_on_an_embedded_store_is_the_fusion_of_both_rankings(tmp_path: Path) -> None:
    """Against ranks computed here: 1 / (k + rank) summed over the sparse and the dense order."""
    lines = ("café da manhã no rio de água", "bolo de fubá", "água do rio", "café com bolo no rio", "o mar e o rio")  # no ties
    texts = {f"d{n}": text for n, text in enumerate(lines)}
    query, k = "café no rio água", 7
    with open_store(f"edge:{tmp_path / 'loja'}", encoder=HashingEncoder(), settings={"dense_size": len(LETTERS)}) as store:
        encode = store.encoder.encode_query
        store.upsert_vectors(Entry(name, encode(text), {"text": text}, None, tuple(embed(text))) for name, text in texts.items())
        assert len({hit.score for hit in store.search(query, 10)}) == 4
        sparse = [hit.doc_id for hit in store.search(query, 3)]
        dots = {name: sum(a * b for a, b in zip(embed(query), embed(text), strict=True)) for name, text in texts.items()}
        dense = sorted(dots, key=lambda name: -dots[name])[:3]
        scores = {name: sum(1 / (k + order.index(name) + 1) for order in (sparse, dense) if name in order) for name in {*sparse, *dense}}
        expected = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
        retriever = LangChainRetriever(store=store, k=10, dense=LetterEmbeddings(), prefetch=3, rrf_k=k, score_key="score")
        nodes = LlamaIndexRetriever(store, 10, dense=LetterEmbedding(), prefetch=3, rrf_k=k)
        for found in (
            [(document.id, document.metadata["score"]) for document in retriever.invoke(query)],
            [(document.id, document.metadata["score"]) for document in await retriever.ainvoke(query)],
            [(node.node_id, node.score) for node in nodes.retrieve(query)],
            [(node.node_id, node.score) for node in await nodes.aretrieve(query)],
        ):
            assert dict(found) == pytest.approx(dict(expected), rel=1e-5)
            assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-5)


# -- tenants -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """The URL of an embedded store with the same two documents for each of two tenants, told apart by their text."""
    url = f"edge:{tmp_path / 'loja'}"
    for tenant in ("a", "b"):
        with open_store(url, encoder=HashingEncoder(), tenant=tenant) as store:
            texts = {f"d{n}": f"café número {n} de {tenant}" for n in (1, 2)}
            store.upsert_vectors((name, store.encoder.encode_query(text), {"text": text}) for name, text in texts.items())
    return url


def native(tenant: str) -> Any:
    import qdrant_edge as edge

    condition = edge.FieldCondition("_tenant", match=edge.MatchValue(tenant))
    return edge.Filter(should=[condition])


@pytest.mark.parametrize("filter", [{"_tenant": "b"}, {"_tenant": ["a", "b"]}, {"_tenant": {"not": "a"}}])
def test_no_filter_of_a_retriever_names_the_tenant(shared: str, filter: Any) -> None:
    with open_store(shared, encoder=HashingEncoder(), tenant="a") as store:
        for search in (
            lambda: LangChainRetriever(store=store, filter=filter).invoke("café número"),
            lambda: LangChainRetriever(store=store).invoke("café número", filter=filter),
            lambda: LlamaIndexRetriever(store, filters=filter).retrieve("café número"),
        ):
            with pytest.raises(ConfigError, match="store's own tenant"):
                search()


@pytest.mark.parametrize("filter", [None, {}, {"text": "café número 1 de b"}, "native"])
def test_no_filter_of_a_retriever_reaches_another_tenant(shared: str, filter: Any) -> None:
    if filter == "native":
        filter = native("b")
    with open_store(shared, encoder=HashingEncoder(), tenant="a") as store:
        found = [document.page_content for document in LangChainRetriever(store=store, filter=filter).invoke("café número")]
        found += [document.page_content for document in LangChainRetriever(store=store).invoke("café número", filter=filter)]
        found += [document.page_content for document in asyncio.run(LangChainRetriever(store=store, filter=filter).ainvoke("café número"))]
        found += [node.node.get_content() for node in LlamaIndexRetriever(store, filters=filter).retrieve("café número")]
    assert all(text.endswith("de a") for text in found)
    assert len(found) == (8 if not filter else 0)


def test_a_closed_store_is_said_to_be_closed_in_a_hybrid_search_too() -> None:
    store = Recording()
    store.close()
    with pytest.raises(StoreClosedError):
        LangChainRetriever(store=store, dense=LetterEmbeddings()).invoke("café")
