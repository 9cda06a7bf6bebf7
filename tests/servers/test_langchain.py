"""LangChain's faces on a real OpenSearch: langchain-tests' suite of vector stores, and index() with a record manager."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.support.vector_store_suite import CommonTermEncoder, VectorStoreSuite


class TestOnOpenSearch(VectorStoreSuite):
    @pytest.fixture
    async def vectorstore(self, opener: Callable[..., OpenSearchStore]) -> AsyncIterator[SpladeVectorStore]:
        store = opener(encoder=CommonTermEncoder())
        yield SpladeVectorStore(store)
        await store.aclose()


async def test_index_with_a_record_manager(store: OpenSearchStore) -> None:
    vectors, manager = SpladeVectorStore(store), InMemoryRecordManager("laws")
    manager.create_schema()
    pages = [Document(page_content=f"artigo número {n}", metadata={"source": "lei", "n": n}) for n in range(5)]
    how = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(pages, manager, vectors, **how)["num_added"] == 5  # type: ignore[arg-type]
    done = await aindex(pages[1:], manager, vectors, **how)  # type: ignore[arg-type]
    assert (done["num_skipped"], done["num_deleted"], store.count()) == (4, 1, 4)
    await store.aclose()


async def test_same_ids_and_scores_as_the_store(store: OpenSearchStore) -> None:
    vectors, retriever = SpladeVectorStore(store), SpladeRetriever(store=store)
    vectors.add_texts(["prazo da multa", "multa", "prazo prazo"], ids=["lei 1/90", "b", "c"])
    expected = [(hit.doc_id, hit.score) for hit in store.search("prazo multa", 3)]
    assert len(expected) == 3
    for found in (
        retriever.search_with_scores("prazo multa", 3),
        await retriever.asearch_with_scores("prazo multa", 3),
        vectors.similarity_search_with_score("prazo multa", 3),
        await vectors.asimilarity_search_with_score("prazo multa", 3),
    ):
        assert [(document.id, score) for document, score in found] == expected
    await store.aclose()
