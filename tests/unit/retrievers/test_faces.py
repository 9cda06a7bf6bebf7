"""Every face of a store gives the store's own ids and scores, synchronous and asynchronous, on every engine that needs no server.

Qdrant is the stand-in; OpenSearch has the same test in tests/servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.vector_stores.types import VectorStoreQuery

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.hits import hit_to_dict
from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.llama_index import SpladeVectorStore as LlamaIndexVectorStore
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import stand_in
from tests.support.stores import MemoryStore

from .conftest import QUERIES, make_store

pytest.importorskip("numba")


@pytest.fixture(params=["edge", "numba", "qdrant"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with stand_in() as server:
        url = f"qdrant+{server.url}/docs" if request.param == "qdrant" else f"{request.param}:{tmp_path}/store"
        with open_store(url, encoder=HashingEncoder()) as opened:
            opened.upsert_vectors(make_store().scan())
            yield opened


def pairs(found: list[tuple[Document, float]]) -> list[tuple[str | None, float]]:
    return [(document.id, score) for document, score in found]


async def test_same_ids_and_scores_as_the_store(store: Store) -> None:
    retriever, vectors, nodes = SpladeRetriever(store=store, k=5), SpladeVectorStore(store), LlamaIndexRetriever(store, 5)
    for query in QUERIES:
        expected = [(hit.doc_id, hit.score) for hit in store.search(query, 5)]
        assert pairs(retriever.search_with_scores(query)) == pairs(await retriever.asearch_with_scores(query)) == expected
        assert pairs(vectors.similarity_search_with_score(query, 5)) == expected
        assert pairs(await vectors.asimilarity_search_with_score(query, 5)) == expected
        for each in (nodes.retrieve(query), await nodes.aretrieve(query)):
            assert [(node.node_id, node.score) for node in each] == expected
        asked = VectorStoreQuery(query_str=query, similarity_top_k=5)
        for result in (LlamaIndexVectorStore(store).query(asked), await LlamaIndexVectorStore(store).aquery(asked)):
            assert list(zip(result.ids or [], result.similarities or [], strict=True)) == expected
        shown = vectors.get_by_ids([doc_id for doc_id, _ in expected])
        assert [document.id for document in shown] == [doc_id for doc_id, _ in expected]
        assert shown == vectors.similarity_search(query, 5) == await vectors.asimilarity_search(query, 5)
        assert shown == retriever.invoke(query) == await retriever.ainvoke(query)
    await store.aclose()


@pytest.mark.parametrize(
    ("face", "argument", "meant"),
    [
        (SpladeRetriever, "top_k", "k"),
        (SpladeRetriever, "similarity_top_k", "k"),
        (SpladeRetriever, "filters", "filter"),
        (LlamaIndexRetriever, "k", "similarity_top_k"),
        (LlamaIndexRetriever, "filter", "filters"),
        (LlamaIndexRetriever, "callback_manger", "callback_manager"),
        (SpladeRetriever, "zzz", None),
        (LlamaIndexRetriever, "zzz", None),
    ],
)
def test_an_unknown_argument_is_one_line_that_names_the_one_that_is_meant(face: Any, argument: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        face(store=make_store(), **{argument: 3})
    hint = "" if meant is None else f" (did you mean {meant!r}?)"
    assert str(refused.value).startswith(f"unknown argument {argument!r} of SpladeRetriever{hint}; known: ")
    assert "\n" not in str(refused.value)


def test_a_title_or_text_of_null_is_shown_as_none_at_all() -> None:
    store = MemoryStore(HashingEncoder())
    store.upsert_vectors([("1", store.encoder.encode_query("prazo"), {"title": None, "text": None, "year": 2024})])
    [document] = SpladeRetriever(store=store, title=True).invoke("prazo")
    [found] = LlamaIndexRetriever(store).retrieve("prazo")
    shown = hit_to_dict(store.search("prazo")[0])
    assert (document.page_content, found.node.get_content(), shown["title"], shown["text"]) == ("", "", "", "")
