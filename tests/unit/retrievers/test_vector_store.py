"""SpladeVectorStore: LangChain's own suite, and what it does beyond."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from splade_ptbr_connectors.errors import ConfigError, RecordError, StoreRefusedError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore
from tests.support.vector_store_suite import CommonTermEncoder, VectorStoreSuite

from .conftest import QUERIES, TEXTS, make_store

pytest.importorskip("numba")
LAWS = [
    Document(id="lei 8.112/90", page_content="servidores públicos civis da União", metadata={"title": "Lei 8.112", "year": 1990}),
    Document(id="lei/ação", page_content="ação civil pública", metadata={"tags": ["civil", None], "deep": {"a": 1.5, "title": True}}),
    Document(id="7", page_content="prazo para recorrer", metadata={}),
]


class TestOnEdge(VectorStoreSuite):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[SpladeVectorStore]:
        with open_store(f"edge:{tmp_path}/store", encoder=CommonTermEncoder()) as store:
            yield SpladeVectorStore(store)


class TestOnNumba(VectorStoreSuite):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[SpladeVectorStore]:
        with open_store(f"numba:{tmp_path}/store", encoder=CommonTermEncoder()) as store:
            yield SpladeVectorStore(store)


@pytest.fixture(params=["edge", "numba"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"{request.param}:{tmp_path}/store", encoder=HashingEncoder()) as opened:
        yield opened


def ids(documents: Sequence[Document]) -> list[str | None]:
    return [document.id for document in documents]


# -- what is added comes back ------------------------------------------------------------------------------------------

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text("ação .", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=5,
)
metadatas = st.dictionaries(st.sampled_from(["title", "text", "score", "doc_id", "metadata", "vector", "dense", "_id", "x"]), json_values)
MEMORY = MemoryStore(HashingEncoder())


@given(text=st.text("palavra ção.", min_size=1).filter(str.strip), metadata=metadatas)
def test_a_document_comes_back_equal_by_search_and_by_id(text: str, metadata: dict[str, Any]) -> None:
    MEMORY.entries.clear()
    vectors, added = SpladeVectorStore(MEMORY), Document(page_content=text, metadata=metadata)
    [doc_id] = vectors.add_documents([added])
    assert [doc_id] == vectors.add_documents([added]) and MEMORY.count() == 1
    expected = [Document(id=doc_id, page_content=text, metadata=metadata)]
    assert vectors.get_by_ids([doc_id]) == vectors.similarity_search(text) == SpladeRetriever(store=MEMORY).invoke(text) == expected


@pytest.mark.parametrize("asynchronous", [False, True])
def test_any_string_is_an_id_and_engines_keep_all_of_a_document(store: Store, asynchronous: bool) -> None:
    vectors = SpladeVectorStore(store)
    if asynchronous:
        asyncio.run(asynchronously(vectors))
        return
    assert vectors.add_documents(LAWS) == ids(LAWS)
    assert vectors.get_by_ids(["7", "none", "lei/ação", "7"]) == [LAWS[2], LAWS[1]]
    assert vectors.similarity_search("ação recorrer", k=2) == sorted(LAWS[1:], key=lambda law: str(law.id))
    assert vectors.similarity_search("8.112") == [LAWS[0]]  # its title is searched
    assert vectors.similarity_search("civil", filter={"metadata.year": 1990}) == []
    assert vectors.delete(["lei/ação", "none"]) is True and vectors.similarity_search("ação") == []
    assert vectors.delete() is True and store.count() == 0


async def asynchronously(vectors: SpladeVectorStore) -> None:
    assert await vectors.aadd_documents(LAWS) == ids(LAWS)
    assert await vectors.aget_by_ids(["7", "none", "lei/ação", "7"]) == [LAWS[2], LAWS[1]]
    assert await vectors.asimilarity_search("8.112") == [LAWS[0]]
    assert await vectors.asimilarity_search("civil", filter={"metadata.year": 1990}) == []
    assert await vectors.adelete(["lei/ação", "none"]) is True and await vectors.asimilarity_search("ação") == []
    assert await vectors.adelete() is True and vectors.store.count() == 0


def test_what_ingest_has_loaded_is_found_and_what_was_added_is_known_to_it(store: Store) -> None:
    ingest([{"_id": "a", "title": "Lei", "text": "prazo", "url": "u"}], store)
    vectors = SpladeVectorStore(store)
    assert vectors.similarity_search("prazo") == [Document(id="a", page_content="prazo", metadata={"title": "Lei", "url": "u"})]
    vectors.add_texts(["multa"], [{"title": "Código"}], ids=["b"])
    report = ingest([{"_id": "b", "title": "Código", "text": "multa", "metadata": {"title": "Código"}}], store)
    assert (report.written, report.unchanged) == (0, 1)


def test_what_is_stored_unchanged_is_not_encoded_again() -> None:
    store = MemoryStore(HashingEncoder(), max_batch_documents=2)
    vectors = SpladeVectorStore(store)
    vectors.add_documents(LAWS)
    before = store.encoder.texts_encoded  # type: ignore[attr-defined]
    vectors.add_documents([*LAWS, Document(page_content="novo")])
    assert store.encoder.texts_encoded == before + 1  # type: ignore[attr-defined]


def test_long_texts_are_found_by_their_passages_and_come_back_whole(tmp_path: Path) -> None:
    text = " ".join(f"palavra{n}" for n in range(50))
    with open_store(f"edge:{tmp_path}/store", encoder=HashingEncoder(), passages={"passage_tokens": 10, "overlap": 0}) as store:
        vectors = SpladeVectorStore(store)
        vectors.add_texts([text, "palavra25 só"], ids=["lei", "nota"])
        assert (
            vectors.similarity_search("palavra25 palavra26", k=1) == [Document(id="lei", page_content=text)] == vectors.get_by_ids(["lei"])
        )
        [passage] = SpladeVectorStore(store, content="passage").similarity_search("palavra25 palavra26", k=1)
        place = passage.metadata
        assert "palavra25" in passage.page_content == text[place["passage_start"] : place["passage_end"]] != text
        assert ids(vectors.max_marginal_relevance_search("palavra25 palavra26")) == ["lei", "nota"]


# -- index() -----------------------------------------------------------------------------------------------------------


def test_index_with_a_record_manager_writes_skips_and_cleans_up(store: Store) -> None:
    vectors, manager = SpladeVectorStore(store), InMemoryRecordManager("laws")
    manager.create_schema()

    def run(documents: list[Document]) -> dict[str, int]:
        return dict(index(documents, manager, vectors, cleanup="full", source_id_key="source", key_encoder="sha256"))

    pages = [Document(page_content=text, metadata={"source": "lei"}) for text in TEXTS]
    assert run(pages) == {"num_added": 12, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}
    assert run(pages) == {"num_added": 0, "num_updated": 0, "num_skipped": 12, "num_deleted": 0}
    assert run([*pages[2:], Document(page_content="nova", metadata={"source": "lei"})])["num_deleted"] == 2
    assert store.count() == 11 and [found.page_content for found in vectors.similarity_search("nova")] == ["nova"]


async def test_aindex_does_the_same(store: Store) -> None:
    vectors, manager = SpladeVectorStore(store), InMemoryRecordManager("laws")
    await manager.acreate_schema()
    pages = [Document(page_content=text, metadata={"source": "lei"}) for text in TEXTS]
    for documents, added, deleted in ((pages, 12, 0), (pages[:5], 0, 7)):
        done = await aindex(documents, manager, vectors, cleanup="full", source_id_key="source", key_encoder="sha256")
        assert (done["num_added"], done["num_deleted"]) == (added, deleted)
    assert store.count() == 5


# -- making one --------------------------------------------------------------------------------------------------------


async def test_from_texts_and_documents_open_a_store_or_take_one(tmp_path: Path) -> None:
    url, encoder = f"edge:{tmp_path}/store", HashingEncoder()
    made: Any = SpladeVectorStore.from_texts(["prazo"], encoder, [{"n": 1}], ids=["a"], store=url, content="passage")
    with made.store:
        assert made.similarity_search("prazo") == [Document(id="a", page_content="prazo", metadata={"n": 1})]
        again = SpladeVectorStore.from_documents([Document(id="b", page_content="multa")], None, store=made.store)
        assert ids(again.similarity_search("prazo multa")) == ["a", "b"]
        await SpladeVectorStore.afrom_texts(["recurso"], ids=["c"], store=made.store)
        assert ids(again.similarity_search("recurso")) == ["c"]
        with pytest.raises(ConfigError, match="a store brings its encoder"):
            SpladeVectorStore.from_texts(["prazo"], encoder, store=made.store)
    with pytest.raises(ConfigError, match="embeddings as dense"):
        SpladeVectorStore.from_texts(["prazo"], DeterministicFakeEmbedding(size=3), store=url)  # type: ignore[arg-type]


# -- bad input ---------------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"texts": "um texto"}, ConfigError, "list of texts"),
    ({"texts": ["a", "b"], "ids": ["1"]}, ConfigError, "2 texts come with 1 ids"),
    ({"texts": ["a", "b"], "metadatas": [{}, {}, {}]}, ConfigError, "2 texts come with 3 metadatas"),
    ({"texts": ["a", " "]}, RecordError, "neither title nor text"),
    ({"texts": ["a", 3]}, RecordError, "int"),
    ({"texts": ["a", "b"], "metadatas": [{}, {"date": datetime.date(2024, 1, 2)}]}, RecordError, "date in the field 'date'"),
    ({"texts": ["a", "b"], "ids": ["1", "1"]}, RecordError, "two different documents have the id '1'"),
    ({"texts": ["a", "b"], "ids": ["1", ""]}, RecordError, "blank"),
    ({"texts": ["a"], "namespace": "x"}, TypeError, "namespace"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
async def test_bad_input_is_an_error_and_nothing_is_stored(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    with pytest.raises(error, match=message):
        vectors.add_texts(**arguments)
    with pytest.raises(error, match=message):
        await vectors.aadd_texts(**arguments)
    assert vectors.store.count() == 0


def test_equal_documents_of_one_id_are_one_document() -> None:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    assert vectors.add_texts(["a", "b", "a"], ids=["1", "2", "1"]) == ["1", "2", "1"]
    assert len({*vectors.add_texts(["c", "d", "c"])}) == 2 and vectors.store.count() == 4


async def test_texts_that_the_encoder_refuses_are_named_and_the_others_are_stored() -> None:
    for add in (lambda vectors: vectors.add_texts, lambda vectors: vectors.aadd_texts):
        vectors = SpladeVectorStore(MemoryStore(HashingEncoder(max_words=2)))
        with pytest.raises(StoreRefusedError, match=r"1 of 3 documents .* first 'b': .*3 words") as caught:
            done = add(vectors)(["um", "um dois três", "dois"], ids=["a", "b", "c"])
            assert await done
        assert [doc_id for doc_id, _ in caught.value.refusals] == ["b"] and set(vectors.store.get(["a", "b", "c"])) == {"a", "c"}


@pytest.mark.parametrize(
    "arguments",
    [{"content": "page"}, {"neighbours": -1}, *({"relevance_pivot": pivot} for pivot in (0, True, float("inf"), 10**400, 10**5000))],
)
def test_bad_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        SpladeVectorStore(make_store(), **arguments)
    with pytest.raises(ConfigError, match="open store"):
        SpladeVectorStore("edge:pasta")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "bad"),
    [("similarity_search", {"k": 0}), ("similarity_search", {"k": True}), ("similarity_search_with_score", {"k": 10_001})]
    + [("max_marginal_relevance_search", each) for each in ({"k": 0}, {"fetch_k": 0}, {"lambda_mult": 1.5}, {"lambda_mult": True})],
)
async def test_bad_arguments_of_a_search_are_refused(how: str, bad: dict[str, Any]) -> None:
    vectors = SpladeVectorStore(make_store())
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} is"):
        getattr(vectors, how)("prazo", **bad)
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} is"):
        await getattr(vectors, f"a{how}")("prazo", **bad)


@pytest.mark.parametrize("how", ["similarity_search", "similarity_search_with_score", "max_marginal_relevance_search"])
async def test_unknown_arguments_of_a_search_are_named(how: str) -> None:
    vectors = SpladeVectorStore(make_store())
    with pytest.raises(ConfigError, match=r"unknown argument 'filters' of the search \(did you mean 'filter'\?\)"):
        getattr(vectors, how)("prazo", filters={})
    with pytest.raises(ConfigError, match=r"unknown argument 'top_k' of the search \(did you mean 'k'\?\)"):
        await getattr(vectors, f"a{how}")("prazo", top_k=3)
    with pytest.raises(ConfigError, match="searches by texts"):
        vectors.similarity_search_by_vector([0.5])


@pytest.mark.parametrize("given", [[{"page_content": "x"}], ["x"], "x", Document(page_content="x"), None])
async def test_what_is_no_list_of_documents_is_told(given: Any) -> None:
    vectors = SpladeVectorStore(MemoryStore(HashingEncoder()))
    with pytest.raises(ConfigError, match="must be a list of LangChain documents"):
        vectors.add_documents(given)
    with pytest.raises(ConfigError, match="must be a list of LangChain documents"):
        await vectors.aadd_documents(given)


# -- ways of searching -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
async def test_a_hit_shares_a_term_and_has_the_stores_score(query: str) -> None:
    store = make_store()
    vectors = SpladeVectorStore(store)
    expected = [(hit.doc_id, hit.score) for hit in store.search(query, 7)]
    for found in (vectors.similarity_search_with_score(query, 7), await vectors.asimilarity_search_with_score(query, 7)):
        assert [(document.id, score) for document, score in found] == expected
        assert all(set(query.split()) & set(document.page_content.split()) for document, _ in found)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("pivot", [0.5, 1.0, 10.0])
async def test_relevance_grows_with_the_score_and_a_threshold_is_one_of_scores(query: str, pivot: float) -> None:
    store = make_store()
    vectors, hits = SpladeVectorStore(store, relevance_pivot=pivot), store.search(query, 4)
    relevant = vectors.similarity_search_with_relevance_scores(query)
    assert [score for _, score in relevant] == [hit.score / (hit.score + pivot) for hit in hits]
    assert relevant == await vectors.asimilarity_search_with_relevance_scores(query)
    at_half = vectors.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5})
    assert ids(at_half.invoke(query)) == ids(await at_half.ainvoke(query)) == [hit.doc_id for hit in hits if hit.score >= pivot]


async def test_as_a_retriever_it_takes_settings_and_a_call_may_change_them() -> None:
    store = make_store()
    retriever = SpladeVectorStore(store).as_retriever(search_kwargs={"k": 2, "filter": {"metadata.subject": "saúde"}})
    expected = SpladeRetriever(store=store, k=12, filter={"metadata.subject": "saúde"}).invoke("vacina bolo café")
    assert len(expected) > 2 and retriever.invoke("vacina bolo café") == expected[:2]
    assert retriever.invoke("vacina bolo café", k=3) == await retriever.ainvoke("vacina bolo café", k=3) == expected[:3]
    with pytest.raises(ConfigError, match="top_k"):
        retriever.invoke("vacina", top_k=3)


def most_relevant_and_different(store: Store, query: str, k: int, fetch_k: int, weight: float) -> list[str]:
    """Maximal marginal relevance, by its definition."""
    hits, chosen = store.search(query, fetch_k), list[Any]()
    vector = {hit.doc_id: store.get([hit.doc_id])[hit.doc_id].vector for hit in hits}

    def cosine(one: Any, other: Any) -> float:
        return float(one.dot(other) / (one.dot(one) * other.dot(other)) ** 0.5)

    def gain(hit: Any) -> float:
        alike = max([cosine(vector[hit.doc_id], vector[each.doc_id]) for each in chosen], default=0.0)
        return weight * hit.score / hits[0].score - (1 - weight) * alike

    while len(chosen) < min(k, len(hits)):
        chosen.append(max([hit for hit in hits if hit not in chosen], key=lambda hit: round(gain(hit), 9)))
    return [hit.doc_id for hit in chosen]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.sampled_from(QUERIES), k=st.integers(1, 12), fetch_k=st.integers(1, 12), weight=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
def test_mmr_is_what_its_definition_says(query: str, k: int, fetch_k: int, weight: float) -> None:
    store = make_store()
    vectors = SpladeVectorStore(store)
    found = vectors.max_marginal_relevance_search(query, k, fetch_k, weight)
    assert ids(found) == most_relevant_and_different(store, query, k, fetch_k, weight)
    assert found == asyncio.run(vectors.amax_marginal_relevance_search(query, k, fetch_k, weight))
    if weight == 1:
        assert ids(found) == [hit.doc_id for hit in store.search(query, fetch_k)][:k]
    retriever = vectors.as_retriever(search_type="mmr", search_kwargs={"k": k, "fetch_k": fetch_k, "lambda_mult": weight})
    assert retriever.invoke(query) == found


@pytest.mark.parametrize("make", [lambda store: SpladeRetriever(store=store), SpladeVectorStore])
def test_nothing_of_langchains_finds_a_document_twice(make: Callable[[Store], Any]) -> None:
    """Queries that several words share: LangChain tells duplicates by equality."""
    made = make(make_store())
    retriever = made if isinstance(made, SpladeRetriever) else made.as_retriever()
    found = [document for query in QUERIES for document in retriever.invoke(query)]
    distinct = [document for number, document in enumerate(found) if document not in found[:number]]
    assert len(distinct) == len({document.id for document in found}) < len(found)
