"""LlamaIndex's vector store on a real OpenSearch: nodes come back equal, and are filtered and deleted there."""

from __future__ import annotations

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

from splade_ptbr_connectors.llama_index import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore


async def test_nodes_are_added_found_and_deleted(store: OpenSearchStore) -> None:
    nodes = [
        TextNode(
            id_=f"artigo {n}",
            text=f"prazo da multa número {n}",
            metadata={"z": n, "a": {"y": 1.0, "b": None}, "longo": "ç" * 40_000},
            excluded_embed_metadata_keys=["longo"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"lei {n % 2}", metadata={"z": n})},
            start_char_idx=n,
        )
        for n in range(4)
    ]
    vectors = SpladeVectorStore(store)
    vectors.add(nodes[:2])
    await vectors.async_add(nodes[2:])
    assert vectors.get_nodes([node.node_id for node in nodes]) == nodes
    query = VectorStoreQuery(query_str="prazo", similarity_top_k=9, filters=MetadataFilters(filters=[MetadataFilter(key="z", value=3)]))
    assert vectors.query(query).nodes == (await vectors.aquery(query)).nodes == [nodes[3]]
    assert vectors.query(VectorStoreQuery(query_str="prazo", similarity_top_k=9, node_ids=["artigo 2"])).nodes == [nodes[2]]
    found = SpladeRetriever(store).retrieve("prazo da multa")
    assert [(each.node_id, each.score) for each in found] == [(hit.doc_id, hit.score) for hit in store.search("prazo da multa")]
    await vectors.adelete("lei 1")
    assert sorted(node.node_id for node in await vectors.aget_nodes()) == ["artigo 0", "artigo 2"]
    await store.aclose()
