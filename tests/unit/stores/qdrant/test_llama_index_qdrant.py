"""Sparse vectors of this package in LlamaIndex's own Qdrant store, whose collections open here with all of their nodes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from splade_ptbr_connectors.llama_index import SpladeRetriever, SpladeSparseEmbedding, SpladeVectorStore, sparse_doc_fn, sparse_query_fn
from splade_ptbr_connectors.stores import model_stamp
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from tests.support.encoders import HashingEncoder

TEXTS = ["vacina contra a gripe", "prazo para recorrer da multa", "multa de trânsito e prazo", "bolo de fubá"]
ENCODER = HashingEncoder()
LAW = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="lei")}
NODES = [
    TextNode(id_=str(uuid.UUID(int=n)), text=text, metadata={"ano": n}, relationships=LAW, start_char_idx=n, embedding=[1.0])
    for n, text in enumerate(TEXTS, 1)
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    monkeypatch.setattr(model_stamp, "_WARNED", set())
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_its_sparse_search_ranks_as_ours_and_ours_gives_its_nodes(client: QdrantClient) -> None:
    functions = {"sparse_doc_fn": sparse_doc_fn(ENCODER), "sparse_query_fn": sparse_query_fn(ENCODER)}
    theirs = QdrantVectorStore("docs", client=client, enable_hybrid=True, **functions)
    theirs.add(NODES)
    with pytest.warns(model_stamp.UnknownOriginWarning):
        store = QdrantStore.from_client(client, "docs", encoder=ENCODER, settings={"layout": "llama-index"})
    whole = [node.model_copy(update={"embedding": None}) for node in NODES]
    for query in ("prazo multa", "gripe", "ano:"):
        found = theirs.query(VectorStoreQuery(query_str=query, query_embedding=[1.0], mode=VectorStoreQueryMode.SPARSE, sparse_top_k=10))
        exact = {
            node.node_id: ENCODER.encode_query(query).dot(ENCODER.encode_query(node.get_content(MetadataMode.EMBED))) for node in whole
        }
        expected = {node_id: score for node_id, score in exact.items() if score}
        assert dict(zip(found.ids or [], found.similarities or [], strict=True)) == pytest.approx(expected) and expected
        ours = SpladeRetriever(store).retrieve(query)
        assert {each.node_id: each.score for each in ours} == pytest.approx(expected)
        assert all(each.node in whole for each in ours)
    assert SpladeVectorStore(store).get_nodes([node.node_id for node in NODES]) == whole
    filters = MetadataFilters(filters=[MetadataFilter(key="ano", value=3)])
    result = SpladeVectorStore(store).query(VectorStoreQuery(query_str="prazo", similarity_top_k=10, filters=filters))
    assert result.nodes == [whole[2]]


async def test_embeddings_are_the_encoders_vectors() -> None:
    embedding = SpladeSparseEmbedding(ENCODER, embed_batch_size=2)
    expected = [ENCODER.encode_query(text).to_dict() for text in TEXTS]
    assert embedding.get_text_embedding_batch(TEXTS) == await embedding.aget_text_embedding_batch(TEXTS) == expected
    assert embedding.get_text_embedding(TEXTS[0]) == await embedding.aget_text_embedding(TEXTS[0]) == expected[0]
    assert embedding.get_query_embedding(TEXTS[0]) == await embedding.aget_query_embedding(TEXTS[0]) == expected[0]
    assert embedding.similarity(expected[1], expected[2]) == ENCODER.encode_query(TEXTS[1]).dot(ENCODER.encode_query(TEXTS[2])) == 2.0
    assert (embedding.model_name, embedding.embed_batch_size) == ("hashing", 2)
    assert "encoder" not in embedding.model_dump() and "encoder=" not in repr(embedding)
    for make in (sparse_doc_fn, sparse_query_fn):
        indices, values = make(ENCODER)(TEXTS)
        assert [dict(zip(*pair, strict=True)) for pair in zip(indices, values, strict=True)] == expected
    assert MockEmbedding(embed_dim=1).get_text_embedding("a") == [0.5]  # what the page about LlamaIndex says costs nothing
