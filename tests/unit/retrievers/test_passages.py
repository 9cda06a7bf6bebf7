"""What the retrievers and the command line show of a long document: the passage, its neighbours, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.langchain import SpladeRetriever as LangChainRetriever
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder

TEXT = " ".join(f"palavra{n}" for n in range(50))
PLACE = {"passage_start", "passage_end", "passage_number"}
Shown = tuple[str, dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), passages={"passage_tokens": 10, "overlap": 0}) as opened:
        ingest([{"_id": "lei", "title": "Lei", "text": TEXT, "url": "u"}, {"_id": "nota", "text": "palavra25 só"}], opened)
        yield opened


def by_langchain(store: Store, **options: Any) -> list[Shown]:
    found = LangChainRetriever(store=store, k=2, **options).invoke("palavra25 palavra26")
    return [(document.page_content, {**document.metadata, "doc_id": document.id}) for document in found]


def by_llama_index(store: Store, **options: Any) -> list[Shown]:
    found = LlamaIndexRetriever(store=store, similarity_top_k=2, **options).retrieve("palavra25 palavra26")
    return [(node.node.get_content(), {**node.node.metadata, "doc_id": node.node.node_id}) for node in found]


@pytest.mark.parametrize("retrieve", [by_langchain, by_llama_index])
@pytest.mark.parametrize("content", ["passage", "neighbours", "document"])
def test_content(store: Store, retrieve: Callable[..., list[Shown]], content: str) -> None:
    hit = store.search("palavra25 palavra26", 2)[0]
    shown = {
        "passage": hit.passage.text,
        "neighbours": TEXT[hit.passages(1)[0].start : hit.passages(1)[-1].end],
        "document": TEXT,
    }[content]
    (text, metadata), (short, other) = retrieve(store, content=content)
    assert text == shown and (metadata["doc_id"], metadata["url"]) == ("lei", "u")
    if content == "document":  # whichever passage was found, it is the same
        assert not PLACE & metadata.keys()
    else:
        assert TEXT[metadata["passage_start"] : metadata["passage_end"]] == shown and metadata["passage_number"] == hit.passage.number
    assert short == "palavra25 só" and not PLACE & other.keys()


@pytest.mark.parametrize("retrieve", [by_langchain, by_llama_index])
def test_the_passage_by_default_and_as_many_neighbours_as_asked_for(store: Store, retrieve: Callable[..., list[Shown]]) -> None:
    assert retrieve(store) == retrieve(store, content="passage") == retrieve(store, content="neighbours", neighbours=0)
    assert retrieve(store, content="neighbours", neighbours=99)[0][0] == TEXT


@pytest.mark.parametrize("retrieve", [by_langchain, by_llama_index])
@pytest.mark.parametrize("wrong", [{"content": "page"}, {"neighbours": -1}, {"content": None}])
def test_other_contents_are_refused(store: Store, retrieve: Callable[..., list[Shown]], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"content|neighbours"):
        retrieve(store, **wrong)


async def test_by_the_mean_of_the_best_few(store: Store) -> None:
    query = "palavra5 palavra25 palavra26 palavra45 só"
    assert [hit.doc_id for hit in store.search(query)] == ["lei", "nota"]
    expected = [(hit.doc_id, hit.score) for hit in store.search(query, best=3)]
    assert [doc_id for doc_id, _ in expected] == ["nota", "lei"]
    chain, index = LangChainRetriever(store=store, best=3), LlamaIndexRetriever(store=store, best=3)
    for pairs in (chain.search_with_scores(query), await chain.asearch_with_scores(query)):
        assert [(document.id, score) for document, score in pairs] == expected
    for nodes in (index.retrieve(query), await index.aretrieve(query)):
        assert [(node.node_id, node.score) for node in nodes] == expected


@pytest.mark.parametrize("retrieve", [by_langchain, by_llama_index])
@pytest.mark.parametrize("best", [0, 101, True, 1.5])
def test_other_numbers_of_passages_are_refused(store: Store, retrieve: Callable[..., list[Shown]], best: Any) -> None:
    with pytest.raises(ConfigError, match="best is"):
        retrieve(store, best=best)
