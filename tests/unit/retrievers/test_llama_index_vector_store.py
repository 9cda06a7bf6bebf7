"""LlamaIndex's SpladeVectorStore: nodes come back equal, and VectorStoreIndex and IngestionPipeline work on it."""

from __future__ import annotations

import asyncio
import copy
import datetime
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode

from splade_ptbr_connectors.errors import ConfigError, RecordError, StoreFormatError, StoreRefusedError
from splade_ptbr_connectors.ingestion.add import add
from splade_ptbr_connectors.langchain import SpladeRetriever as LangChainRetriever
from splade_ptbr_connectors.llama_index import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

pytest.importorskip("numba")
MOCK = MockEmbedding(embed_dim=1)


def law(node_id: str, text: str, of: str | None = "lei", **metadata: Any) -> TextNode:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=of, node_type=ObjectType.DOCUMENT, hash="h")} if of else {}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=source, start_char_idx=7, end_char_idx=7 + len(text))


LAWS = [
    law("a", "vacina contra a gripe", subject="saúde", year=2000, tags=["posto", "dose"]),
    law("b", "prazo da vacina", subject="saúde", year=2005, tags=["dose"]),
    law("c", "prazo da multa", of="código", subject="trânsito", year=2010),
]


@pytest.fixture(params=["edge", "numba"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"{request.param}:{tmp_path}/store", encoder=HashingEncoder()) as opened:
        yield opened


def filled() -> SpladeVectorStore:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    vectors.add(LAWS)
    return vectors


def found(vectors: SpladeVectorStore, text: str, **of: Any) -> list[BaseNode]:
    result = vectors.query(VectorStoreQuery(query_str=text, similarity_top_k=10, **of))
    assert result.ids == [node.node_id for node in result.nodes or []]
    return list(result.nodes or [])


def ids(nodes: Sequence[BaseNode]) -> list[str]:
    return [node.node_id for node in nodes]


# -- what is added comes back ------------------------------------------------------------------------------------------

names = st.sampled_from(["title", "text", "score", "metadata", "_node", "ref_doc_id", "passage_start", "ano"])
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ação .")
)
metadatas = st.dictionaries(names, scalars | st.lists(scalars, max_size=2) | st.dictionaries(names, scalars, max_size=2), max_size=4)
related = st.builds(
    RelatedNodeInfo,
    node_id=st.text("xyz", min_size=1),
    node_type=st.sampled_from(ObjectType),
    metadata=metadatas,
    hash=st.none() | st.just("h"),
)
relationships = st.dictionaries(
    st.sampled_from([NodeRelationship.SOURCE, NodeRelationship.PREVIOUS, NodeRelationship.NEXT, NodeRelationship.PARENT]), related
) | st.fixed_dictionaries({NodeRelationship.CHILD: st.lists(related, max_size=2)})
texts = st.text("palavra ção.", min_size=1).filter(str.strip)
common = {
    "id_": st.text("abc", min_size=1),
    "metadata": metadatas,
    "relationships": relationships,
    "excluded_embed_metadata_keys": st.lists(names, max_size=2),
    "excluded_llm_metadata_keys": st.lists(names, max_size=2),
    "metadata_template": st.sampled_from(["{key}: {value}", "{key}={value}"]),
    "metadata_separator": st.sampled_from(["\n", "; "]),
}
offsets = {"start_char_idx": st.none() | st.integers(0, 9), "end_char_idx": st.none() | st.integers(0, 9), "text": texts}
resources = st.builds(MediaResource, text=texts, mimetype=st.none() | st.just("text/plain"))
nodes = st.one_of(
    st.builds(TextNode, **common, **offsets, text_template=st.sampled_from(["{metadata_str}\n\n{content}", "{content}"])),
    st.builds(IndexNode, **common, **offsets, index_id=st.just("outro"), obj=st.none()),
    st.builds(ImageNode, **common, **offsets, image_path=st.just("foto.png")),
    st.builds(Node, **common, text_resource=resources),
    st.builds(Document, **common, text_resource=resources),
)
MEMORY = MemoryStore(HashingEncoder())


@given(node=nodes)
def test_a_node_comes_back_equal_by_search_and_by_id(node: BaseNode) -> None:
    MEMORY.entries.clear()
    vectors = SpladeVectorStore(MEMORY)
    assert vectors.add([node]) == vectors.add([node]) == [node.node_id] and MEMORY.count() == 1
    text = node.get_content(MetadataMode.NONE)
    again = vectors.get_nodes([node.node_id, "none"])
    assert again == found(vectors, text) == [each.node for each in SpladeRetriever(MEMORY).retrieve(text)] == [node]
    [copied] = again
    assert (type(copied), copied.hash, copied.ref_doc_id) == (type(node), node.hash, node.ref_doc_id)
    for mode in MetadataMode:
        assert copied.get_content(mode) == node.get_content(mode)


def test_engines_keep_all_of_a_node(store: Store) -> None:
    vectors = SpladeVectorStore(store)
    assert vectors.add(LAWS) == ["a", "b", "c"]
    assert vectors.get_nodes(["c", "a", "c", "none"]) == [LAWS[2], LAWS[0]]
    assert sorted(vectors.get_nodes(), key=lambda node: node.node_id) == LAWS
    assert found(vectors, "multa") == [LAWS[2]] and found(vectors, "nada") == []
    assert found(vectors, "trânsito") == [LAWS[2]]  # metadata are searched
    hits = store.search("prazo da vacina", 10)
    result = vectors.query(VectorStoreQuery(query_str="prazo da vacina", similarity_top_k=10))
    assert (result.ids, result.similarities) == ([hit.doc_id for hit in hits], [hit.score for hit in hits])


async def test_the_asynchronous_side_does_the_same(store: Store) -> None:
    vectors = SpladeVectorStore(store)
    assert await vectors.async_add(LAWS) == ["a", "b", "c"]
    result = await vectors.aquery(VectorStoreQuery(query_str="prazo", similarity_top_k=10))
    assert result == vectors.query(VectorStoreQuery(query_str="prazo", similarity_top_k=10)) and len(result.ids or []) == 2
    assert await vectors.aget_nodes(["b"]) == [LAWS[1]]
    await vectors.adelete("código")
    await vectors.adelete_nodes(["a"])
    assert ids(await vectors.aget_nodes()) == ["b"]
    await vectors.aclear()
    assert store.count() == 0


def test_metadata_that_embeddings_do_not_see_are_not_searched() -> None:
    node = law("a", "vacina", autor="Silva", arquivo="lei.pdf")
    node.excluded_embed_metadata_keys = ["arquivo"]
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    vectors.add([node])
    assert found(vectors, "Silva") == [node] and found(vectors, "lei.pdf") == []


def test_equal_nodes_are_equal_whatever_found_them_and_other_faces_hide_what_is_theirs() -> None:
    vectors = filled()
    retriever = SpladeRetriever(vectors.store)
    by_vaccine, by_term = ({each.node_id: each for each in retriever.retrieve(query)} for query in ("vacina", "prazo"))
    assert by_vaccine["b"].node == by_term["b"].node == LAWS[1] and "score" not in by_term["b"].node.metadata
    [shown, *_] = LangChainRetriever(store=vectors.store).invoke("multa")
    assert shown.page_content == "prazo da multa" and set(shown.metadata) == {"subject", "year", "ref_doc_id", "title"}


def test_what_ingest_has_loaded_is_found_as_text_nodes() -> None:
    store = MemoryStore(HashingEncoder())
    record = Record("1", "", "vacina", {"metadata": {"ano": 3}, "url": "u"})
    store.upsert_vectors([(record.doc_id, store.encoder.encode_query("vacina"), record.payload)])
    assert found(SpladeVectorStore(store), "vacina") == [TextNode(id_="1", text="vacina", metadata={"ano": 3, "url": "u"})]
    for delete in (lambda vectors: vectors.delete("1"), lambda vectors: vectors.delete_nodes(["1"], filters("ano", 3))):
        store.upsert_vectors([(record.doc_id, store.encoder.encode_query("vacina"), record.payload)])
        SpladeVectorStore(store).delete_nodes(["1"], filters("ano", 4))
        assert store.count() == 1
        delete(SpladeVectorStore(store))
        assert store.count() == 0


def test_a_part_of_a_long_node_has_its_own_offsets_and_all_of_it_is_equal(tmp_path: Path) -> None:
    text = " ".join(f"palavra{n}" for n in range(50))
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), passages={"passage_tokens": 10, "overlap": 0}) as store:
        vectors, node = SpladeVectorStore(store), law("a", text, ano=3)
        vectors.add([node])
        assert found(vectors, "palavra25 palavra26") == vectors.get_nodes(["a"]) == [node]
        [part] = found(SpladeVectorStore(store, content="passage"), "palavra25 palavra26")
        [again] = [each.node for each in SpladeRetriever(store).retrieve("palavra25")]
        assert isinstance(part, TextNode) and part == again and "palavra25" in part.text != text
        start, end = part.metadata["passage_start"], part.metadata["passage_end"]
        assert part.text == text[start:end] and (part.start_char_idx, part.end_char_idx) == (7 + start, 7 + end)
        assert part.relationships == node.relationships and part.get_metadata_str(MetadataMode.LLM) == "ano: 3"
        vectors.clear()
        add([Record("b", "", text, {})], store)
        [cut] = [each.node for each in SpladeRetriever(store).retrieve("palavra25")]
        assert isinstance(cut, TextNode) and cut.text == text[cut.start_char_idx : cut.end_char_idx]
        assert cut.get_metadata_str(MetadataMode.LLM) == ""


# -- deleting and filtering --------------------------------------------------------------------------------------------


def test_nodes_are_deleted_by_document_by_id_and_by_filter() -> None:
    vectors = filled()
    vectors.delete("código")
    assert ids(vectors.get_nodes()) == ["a", "b"]
    vectors.add([law("sozinho", "sem documento", of=None)])
    vectors.delete("sozinho")
    vectors.delete("none")
    vectors.delete_nodes(["a", "b"], filters("year", 2005))
    assert ids(vectors.get_nodes()) == ["a"]
    vectors.delete_nodes(["a", "none"])
    assert vectors.get_nodes() == []
    vectors = filled()
    vectors.delete_nodes(filters=filters("subject", "saúde"))
    assert ids(vectors.get_nodes()) == ["c"]
    for nothing in ({}, {"filters": MetadataFilters(filters=[])}):
        with pytest.raises(ConfigError, match=r"delete_nodes\(\) was given (neither|filters that let every node pass)"):
            vectors.delete_nodes(**nothing)
    vectors.delete_nodes([])
    vectors.delete_nodes([], filters("subject", "trânsito"))
    assert ids(vectors.get_nodes()) == ["c"]
    assert ids(vectors.get_nodes(filters=filters("subject", "saúde"))) == []
    assert ids(vectors.get_nodes(filters=filters("subject", "saúde", FilterOperator.NE))) == ["c"]
    assert ids(vectors.get_nodes(["c"], filters("nothing", None, FilterOperator.IS_EMPTY))) == ["c"]


def filters(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (filters("subject", "saúde"), "ab"),
        (filters("metadata.subject", "saúde"), "ab"),
        (filters("tags", "posto", FilterOperator.CONTAINS), "a"),
        (filters("tags", ["posto", "dose"], FilterOperator.ANY), "ab"),
        (filters("tags", ["posto", "dose"], FilterOperator.ALL), "a"),
        (filters("tags", ["dose"], FilterOperator.NIN), "c"),
        (filters("year", 2005, FilterOperator.GTE), "bc"),
    ],
)
def test_filters_name_the_metadata_of_nodes(filter: MetadataFilters, expected: str, store: Store) -> None:
    vectors = SpladeVectorStore(store)
    vectors.add(LAWS)
    assert sorted(ids(found(vectors, "vacina prazo", filters=filter))) == list(expected)


def test_a_query_may_name_documents_and_nodes() -> None:
    vectors = filled()
    assert ids(found(vectors, "prazo", doc_ids=["lei", "none"])) == ["b"]
    assert ids(found(vectors, "prazo", node_ids=["c", "a"])) == ["c"]
    assert found(vectors, "prazo", node_ids=["c"], doc_ids=["lei"]) == []
    assert found(vectors, "prazo", node_ids=["c"], filters=filters("year", 2005)) == []
    assert len(found(vectors, "prazo", node_ids=[], doc_ids=[])) == 2


# -- LlamaIndex's own machinery ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_index_inserts_retrieves_and_deletes(store: Store, asynchronous: bool) -> None:
    vectors = SpladeVectorStore(store)
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=MOCK, use_async=asynchronous)
    index.insert_nodes(LAWS)
    retriever = index.as_retriever(similarity_top_k=2)
    hits = [(hit.doc_id, hit.score) for hit in store.search("prazo da vacina", 2)]
    got = asyncio.run(retriever.aretrieve("prazo da vacina")) if asynchronous else retriever.retrieve("prazo da vacina")
    assert [(each.node_id, each.score) for each in got] == hits and got[0].node == LAWS[1]
    assert ids([each.node for each in index.as_retriever(filters=filters("year", 2010)).retrieve("prazo")]) == ["c"]
    index.delete_ref_doc("lei")
    assert ids(vectors.get_nodes()) == ["c"]
    index.delete_nodes(["c"])
    assert store.count() == 0
    index.insert(Document(id_="novo", text="multa nova"))
    [node] = [each.node for each in retriever.retrieve("multa")]
    assert (node.ref_doc_id, node.get_content()) == ("novo", "multa nova")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_pipeline_adds_replaces_and_deletes_documents(store: Store, asynchronous: bool) -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=60, chunk_overlap=0), MOCK],
        vector_store=SpladeVectorStore(store),
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )

    def run(*documents: Document) -> None:
        if asynchronous:
            asyncio.run(pipeline.arun(documents=list(documents)))
        else:
            pipeline.run(documents=list(documents))

    long = " ".join(f"O artigo {n} trata da vacina e do prazo." for n in range(12))
    run(Document(id_="lei", text=long, metadata={"ano": 3}), Document(id_="código", text="multa"))
    parts = [each.node for each in SpladeRetriever(store, 20).retrieve("vacina")]
    assert len(parts) > 1 and {part.ref_doc_id for part in parts} == {"lei"} and all(part.metadata == {"ano": 3} for part in parts)
    assert all(isinstance(part, TextNode) and part.text == long[part.start_char_idx : part.end_char_idx] for part in parts)
    run(Document(id_="lei", text="só a febre", metadata={"ano": 3}))
    assert store.count() == 1 and [each.node.get_content() for each in SpladeRetriever(store).retrieve("febre")] == ["só a febre"]


# -- copies and bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])  # noqa: S301 - our own bytes
def test_a_vector_store_and_a_retriever_are_the_same_afterwards(store: Store, how: Callable[[Any], Any]) -> None:
    vectors = SpladeVectorStore(store, content="neighbours", neighbours=2)
    vectors.add(LAWS)
    twin = how(vectors)
    assert twin is not vectors and twin == vectors and found(twin, "prazo") == found(vectors, "prazo") != []
    retriever = SpladeRetriever(store, 2, filters("metadata.subject", "saúde"), explain=True)
    again = how(retriever)
    assert again is not retriever and again.retrieve("vacina") == retriever.retrieve("vacina") != []


def test_a_store_that_cannot_be_pickled_is_an_error_and_none_is_in_a_dump_or_repr() -> None:
    vectors = filled()
    with pytest.raises(ConfigError, match="cannot be pickled"):
        pickle.dumps(vectors)
    assert "store=" not in repr(vectors) and "store" not in vectors.to_dict() and vectors.client is vectors.store
    assert vectors.to_dict()["class_name"] == "SpladeVectorStore"


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ("texto", "must be a node of LlamaIndex"),
        (TextNode(id_="a", text="t", metadata={"dia": datetime.date(2000, 1, 1)}), "holds a value of type date in the field 'dia'"),
        (TextNode(id_="a", text="t", metadata={"n": float("nan")}), "JSON has no such number"),
        (TextNode(id_=" ", text="t"), "blank"),
        (TextNode(id_="a", text=" "), "nothing to search for"),
        (TextNode(id_="a", text="outro"), "two different documents have the id 'a'"),
        (IndexNode(id_="i", text="t", index_id="x", obj=object()), "cannot be written as JSON"),
    ],
)
def test_a_node_that_cannot_be_stored_stores_nothing(node: Any, problem: str) -> None:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    with pytest.raises(RecordError, match=problem):
        vectors.add([LAWS[0], node])
    assert vectors.store.count() == 0


def test_a_node_that_the_encoder_refuses_is_named_and_the_others_are_stored() -> None:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder(max_words=12)))
    with pytest.raises(StoreRefusedError, match="first 'longo'"):
        vectors.add([law("longo", "palavra " * 20), law("b", "prazo")])
    assert ids(vectors.get_nodes()) == ["b"]


@pytest.mark.parametrize("kept", [{"class": "TextNode"}, {"json": "{", "class": "TextNode"}, {"json": "3", "class": "x"}, "texto"])
def test_a_node_that_is_damaged_is_an_error(kept: Any) -> None:
    store = MemoryStore(HashingEncoder())
    store.upsert_vectors([("a", store.encoder.encode_query("multa"), {"text": "multa", "_node": kept})])
    with pytest.raises(StoreFormatError, match="'_node' of document 'a'"):
        SpladeRetriever(store).retrieve("multa")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (VectorStoreQuery(query_str="a", mode=VectorStoreQueryMode.HYBRID), "with a dense embedding is hybrid"),
        (VectorStoreQuery(query_embedding=[0.1]), "no query_str"),
        (VectorStoreQuery(query_str="a", similarity_top_k=0), "similarity_top_k is 0"),
    ],
)
def test_queries_that_are_refused(query: VectorStoreQuery, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        filled().query(query)


def test_bad_arguments() -> None:
    for arguments in ({"content": "page"}, {"neighbours": -1}):
        with pytest.raises(ConfigError):
            SpladeVectorStore(MEMORY, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be an open store"):
        SpladeVectorStore("edge:x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        filled().add(LAWS, batch=3)  # type: ignore[call-arg]
