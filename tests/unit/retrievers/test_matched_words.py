"""explain=True: retrievers put what explain_hits() says into the metadata, whichever way they are called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core.schema import MetadataMode

from splade_ptbr_connectors import SpladeEncoder, explain_hits, ingest, open_store
from splade_ptbr_connectors.demo.sample import read_corpus
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.langchain import SpladeRetriever as LangChainRetriever
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.stores.base import Hit, HybridSearch, Store
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

from .conftest import QUERIES, make_store

MINI = SpladeEncoder.load("mini")
SAMPLE = list(read_corpus())[:20]
QUERY = "prazo para recorrer da multa"
Retrieve = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    url, passages = f"edge:{tmp_path_factory.mktemp('stores')}/store", {"passage_tokens": 64, "overlap": 16}
    with open_store(url, encoder=MINI, passages=passages) as opened:
        ingest([{**SAMPLE[0], "_id": "longo", "text": "\n\n".join(each["text"] for each in SAMPLE[:6])}, *SAMPLE], opened)
        yield opened


def by_langchain(store: Store, query: str = QUERY, **options: Any) -> list[dict[str, Any]]:
    return [document.metadata for document in LangChainRetriever(store=store, k=9, **options).invoke(query)]


def contents(store: Store, face: str, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """What each hit shows, and its metadata."""
    if face == "langchain":
        documents = LangChainRetriever(store=store, k=9, explain=True, **options).invoke(QUERY)
        return [(document.page_content, document.metadata) for document in documents]
    found = LlamaIndexRetriever(store, 9, explain=True, **options).retrieve(QUERY)
    return [(each.node.get_content(MetadataMode.NONE), each.node.metadata) for each in found]


def by_langchain_async(store: Store, query: str = QUERY, **options: Any) -> list[dict[str, Any]]:
    found = asyncio.run(LangChainRetriever(store=store, k=9, **options).ainvoke(query))
    return [document.metadata for document in found]


def by_llama_index(store: Store, query: str = QUERY, **options: Any) -> list[dict[str, Any]]:
    return [found.node.metadata for found in LlamaIndexRetriever(store, 9, **options).retrieve(query)]


def by_llama_index_async(store: Store, query: str = QUERY, **options: Any) -> list[dict[str, Any]]:
    found = asyncio.run(LlamaIndexRetriever(store, 9, **options).aretrieve(query))
    return [each.node.metadata for each in found]


every_way = pytest.mark.parametrize("retrieve", [by_langchain, by_langchain_async, by_llama_index, by_llama_index_async])


@every_way
@pytest.mark.parametrize("content", ["passage", "document"])
def test_the_words_are_those_of_explain_hits(store: Store, retrieve: Retrieve, content: str) -> None:
    hits = store.search(QUERY, 9)
    explanations = explain_hits(store, QUERY, hits)
    assert any(hit.place is not None for hit in hits) and explanations[0] is not None
    shown = [metadata["matched_words"] for metadata in retrieve(store, content=content, explain=True)]
    assert shown == json.loads(json.dumps(shown))
    for words, why, hit in zip(shown, explanations, hits, strict=True):
        assert why is not None
        assert [(word["word"], word["contribution"], word["source"], word["query_word"]) for word in words] == [
            (match.word, match.contribution, match.source, match.query_word) for match in why.words
        ]
        assert sum(word["contribution"] for word in words) == pytest.approx(hit.score, rel=1e-4)


@pytest.mark.parametrize("content", ["passage", "neighbours", "document"])
@pytest.mark.parametrize(("face", "options"), [("langchain", {}), ("langchain", {"title": True}), ("llama_index", {})])
def test_the_places_are_those_of_the_content_that_is_shown(store: Store, face: str, options: dict[str, Any], content: str) -> None:
    shown = contents(store, face, content=content, **options)
    assert any("passage_start" in metadata for _, metadata in shown) == (content != "document")
    for text, metadata in shown:
        for word in metadata["matched_words"]:
            assert (word["places"] != []) == (word["source"] == "text")
            for within, places in ((text, word["places"]), (metadata["title"], word["title_places"])):
                assert all(within[place["start"] : place["end"]].casefold() == word["word"].casefold() for place in places)


@pytest.mark.parametrize("face", ["langchain", "llama_index"])
def test_a_content_that_is_not_the_text_has_no_places(store: Store, face: str) -> None:
    words = [word for _, metadata in contents(store, face, content_key="title") for word in metadata["matched_words"]]
    assert any(word["source"] == "text" for word in words) and not any(word["places"] for word in words)


@every_way
def test_without_it_nothing_is_added_and_nothing_is_read(store: Store, retrieve: Retrieve, monkeypatch: pytest.MonkeyPatch) -> None:
    explained = retrieve(store, explain=True)
    for name in ("get", "aget"):
        monkeypatch.delattr(Store, name)
    assert retrieve(store) == [{name: value for name, value in each.items() if name != "matched_words"} for each in explained]


@every_way
@pytest.mark.parametrize("query", QUERIES)
def test_of_an_encoder_that_shows_no_pieces_the_words_are_its_terms(retrieve: Retrieve, query: str) -> None:
    store = make_store()
    scores = [hit.score for hit in store.search(query, 9)]
    words = [metadata["matched_words"] for metadata in retrieve(store, query, explain=True)]
    assert [sum(word["contribution"] for word in each) for each in words] == pytest.approx(scores)


class Hybrid(MemoryStore):
    """Its fused score is not that of the sparse search."""

    @property
    def dense_size(self) -> int:
        return 4

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        return [hit._replace(score=0.01) for hit in self._search(search.query, search.top_k, search.filter, True)]


def test_hybrid_hits_are_explained_by_their_sparse_score() -> None:
    plain, store = make_store(), Hybrid(HashingEncoder())
    store.upsert_vectors(plain.scan())
    retriever = LangChainRetriever(store=store, k=9, dense=DeterministicFakeEmbedding(size=4), explain=True, score_key="score")
    scores = [hit.score for hit in plain.search("prazo da vacina", 9)]
    for found in (retriever.invoke("prazo da vacina"), asyncio.run(retriever.ainvoke("prazo da vacina"))):
        assert {document.metadata["score"] for document in found} == {0.01}
        words = [document.metadata["matched_words"] for document in found]
        assert [sum(word["contribution"] for word in each) for each in words] == pytest.approx(scores)


def test_llama_index_keeps_them_from_prompts_and_embeddings(store: Store) -> None:
    for found in LlamaIndexRetriever(store, 3, explain=True).retrieve(QUERY):
        assert "matched_words" in found.node.metadata
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "matched_words" not in found.node.get_content(mode) and "title" in found.node.get_content(mode)


@every_way
def test_a_value_that_is_not_a_truth_value_is_refused(store: Store, retrieve: Retrieve) -> None:
    with pytest.raises((ConfigError, ValueError), match="explain"):
        retrieve(store, explain="words")
