"""Collections of langchain-qdrant and LlamaIndex, opened by a preset. Their points are made here as those libraries make them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.llama_index import SpladeVectorStore
from splade_ptbr_connectors.stores import model_stamp
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.payloads import NODE_FIELD
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.stores.qdrant.wire import LAYOUTS
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

IDS = [str(uuid.UUID(int=n)) for n in range(1, 4)]
QUERY = SparseVector([1], [1.0])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    monkeypatch.setattr(model_stamp, "_WARNED", set())
    client = QdrantClient(":memory:")
    yield client
    client.close()


def vector(n: int) -> models.SparseVector:
    return models.SparseVector(indices=[1, 10 + n], values=[1.0 + n, 1.0])


@pytest.fixture
def langchain(client: QdrantClient) -> QdrantClient:
    client.create_collection("docs", vectors_config={}, sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()})
    payloads = [{"page_content": f"texto {n}", "metadata": {"year": 2000 + n} if n else None} for n in range(3)]
    client.upsert("docs", [models.PointStruct(id=IDS[n], vector={"langchain-sparse": vector(n)}, payload=payloads[n]) for n in range(3)])
    client.upsert(
        "docs", [models.PointStruct(id=7, vector={"langchain-sparse": vector(9)}, payload={"page_content": "sete", "metadata": {}})]
    )
    return client


def opened(client: QdrantClient, layout: str, **arguments: object) -> QdrantStore:
    with pytest.warns(model_stamp.UnknownOriginWarning):
        return QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings={"layout": layout, **arguments})


def test_documents_of_langchain_are_read(langchain: QdrantClient) -> None:
    store = opened(langchain, "langchain")
    hits = store.search(QUERY)
    assert [(hit.doc_id, hit.score) for hit in hits] == [("7", 10.0), (IDS[2], 3.0), (IDS[1], 2.0), (IDS[0], 1.0)]
    assert [hit.payload for hit in hits[1:]] == [
        {"text": "texto 2", "metadata": {"year": 2002}},
        {"text": "texto 1", "metadata": {"year": 2001}},
        {"text": "texto 0"},
    ]
    assert store.search(QUERY, with_payload=False) == [hit._replace(payload={}) for hit in hits]
    assert store.get([IDS[1], "7", "no id of a point", "007"]).keys() == {IDS[1], "7"}
    assert store.count(filter={"metadata.year": {"gte": 2001}}) == 2
    assert store.count(filter={"text": "sete"}) == 1
    assert store.content_hashes(IDS) == {}
    assert {entry.doc_id for entry in store.scan(with_vectors=False)} == {*IDS, "7"}
    assert store.delete(["7", IDS[0]]) == 2


def test_names_with_dots_are_found_and_come_back(langchain: QdrantClient) -> None:
    store = opened(langchain, "langchain")
    payload = {"text": "oito", "metadata": {"v.1": 1, "year": 1999}, "metadata.closed": True}
    written = [("8", SparseVector([1], [1.0]), payload), ("9", SparseVector([1], [1.0]), {"text.lang": "pt"})]
    store.upsert_vectors(written)
    assert {doc_id: entry.payload for doc_id, entry in store.get(["8", "9"]).items()} == {"8": payload, "9": {"text.lang": "pt"}}
    assert store.count(filter={"metadata.v.1": 1, "metadata.closed": True, "text": "oito"}) == 1
    assert (store.count(filter={"text.lang": "pt"}), store.count(filter={"text.lang": {"not": "pt"}})) == (1, store.count() - 1)
    with pytest.raises(errors.RecordError, match=r"page_content\.x"):
        store.upsert_vectors([("10", SparseVector([1], [1.0]), {"page_content.x": 1})])


def test_documents_written_for_langchain_are_read_by_both(langchain: QdrantClient) -> None:
    store = opened(langchain, "langchain")
    entries = [
        Entry(IDS[0], QUERY, {"text": "novo", "title": "", "metadata": {"year": 1}}, "h" * 32),
        Entry("lei 8.112", QUERY, {"text": "servidores", "metadata": {}}),
        Entry("bare", QUERY, {}),
    ]
    store.upsert_vectors(entries)
    assert store.get([entry.doc_id for entry in entries]) == {entry.doc_id: entry for entry in entries}
    assert store.count() == 6
    [record] = langchain.retrieve("docs", [IDS[0]])
    assert record.payload is not None
    assert (record.payload["page_content"], record.payload["metadata"]) == ("novo", {"year": 1})
    with pytest.raises(errors.RecordError, match="has the field 'page_content'"):
        store.upsert_vectors([("x", QUERY, {"page_content": "a"})])


@pytest.mark.parametrize("passages", [True, {"passage_tokens": 100}])
def test_passages_are_refused_before_a_collection_is_created(client: QdrantClient, passages: Any) -> None:
    """In a layout whose points are whole documents: an empty collection that stays behind would be opened as whole documents next time."""
    settings = {"layout": "langchain"}
    with pytest.raises(errors.ConfigError, match=r"in the layout 'langchain' keeps whole documents only, not passages=(True|\{)"):
        QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings=settings, passages=passages)
    assert not client.collection_exists("docs")
    whole = QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings=settings, passages=False)
    assert whole.passage_settings is None
    with pytest.raises(errors.StoreFormatError, match="keeps whole documents"):
        QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), passages=passages)


def test_a_new_collection_can_have_the_layout_of_langchain(client: QdrantClient) -> None:
    store = QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings={"layout": "langchain"})
    store.upsert_vectors([(IDS[0], QUERY, {"text": "a"})])
    assert client.get_collection("docs").config.params.sparse_vectors.keys() == {"langchain-sparse"}  # type: ignore[union-attr]
    again = QdrantStore.from_client(client, "docs", encoder=HashingEncoder())
    assert again.settings.layout == "langchain"
    assert again.get([IDS[0]])[IDS[0]].payload == {"text": "a"}


@pytest.mark.parametrize("name", ["text-sparse-new", "text-sparse"])
def test_nodes_of_llama_index_are_read(client: QdrantClient, name: str) -> None:
    client.create_collection(
        "docs",
        vectors_config={"text-dense": models.VectorParams(size=2, distance=models.Distance.COSINE)},
        sparse_vectors_config={name: models.SparseVectorParams()},
    )
    parent = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="lei")}
    nodes = [TextNode(id_=IDS[n], text=f"texto {n}", metadata={"year": 2000 + n}, relationships=parent if n else {}) for n in range(3)]
    for n, node in enumerate(nodes):
        payload = node_to_metadata_dict(node, remove_text=False, flat_metadata=False)
        client.upsert("docs", [models.PointStruct(id=node.node_id, vector={name: vector(n), "text-dense": [1.0, 0.0]}, payload=payload)])
    store = opened(client, "llama-index")
    hits = store.search(QUERY, filter={"metadata.year": {"gte": 2001}})
    bare = store.search(QUERY, filter={"metadata.year": {"gte": 2001}}, with_payload=False)
    assert bare == [hit._replace(payload={}) for hit in hits]
    assert [hit.doc_id for hit in hits] == [IDS[2], IDS[1]]
    kept = [{name: value for name, value in entry.payload.items() if name != NODE_FIELD} for entry in store.get(IDS[:3:2]).values()]
    assert kept == [{"text": "texto 0", "metadata": {"year": 2000}}, {"text": "texto 2", "metadata": {"year": 2002}, "ref_doc_id": "lei"}]
    assert SpladeVectorStore(store).get_nodes(IDS[:3]) == nodes
    assert store.content_hashes(IDS) == {}
    assert {entry.doc_id for entry in store.scan(with_vectors=False)} == set(IDS)
    with pytest.raises(errors.ConfigError, match="can be read only"):
        store.upsert_vectors([("a", QUERY, {})])
    assert store.count() == 3


def test_nothing_is_created_in_a_layout_that_is_only_read(client: QdrantClient) -> None:
    with pytest.raises(errors.ConfigError, match="none can be created in the layout 'llama-index'"):
        QdrantStore.from_client(client, "docs", encoder=HashingEncoder(), settings={"layout": "llama-index"})
    assert client.get_collections().collections == []


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3", "[" * 100_000, json.dumps({"text": None, "metadata": None})])
def test_a_node_that_is_none_is_read_as_an_empty_text(content: str | None) -> None:
    payload = {"_node_content": content, "year": 3, "doc_id": "None"}
    assert LAYOUTS["llama-index"].read("7", payload) == ("7", {"text": "", "metadata": {"year": 3}}, None)


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)), st.sampled_from(sorted(LAYOUTS)))
def test_no_two_document_ids_share_a_point(doc_id: str, layout: str) -> None:
    others = {doc_id + " ", doc_id.upper() + "'", f"0{doc_id}"} - {doc_id}
    assert LAYOUTS[layout].point_id(doc_id, None) not in {LAYOUTS[layout].point_id(other, None) for other in others}


def test_ids_of_points_in_other_spellings_are_other_documents() -> None:
    layout, canonical = LAYOUTS["langchain"], "6a1fd2a4-6b0e-5d0c-9c39-3f2c5f7f1b8e"
    assert layout.point_id(canonical, None) == canonical
    assert layout.point_id("18446744073709551615", None) == 2**64 - 1
    spellings = [canonical.upper(), canonical.replace("-", ""), "07", "٣", "18446744073709551616", "9" * 600]
    points = [layout.point_id(spelling, None) for spelling in spellings]
    assert all(isinstance(point, str) and point not in spellings for point in points)
    assert layout.point_id(canonical, "A") != canonical
