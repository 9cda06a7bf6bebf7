"""The LangChain retriever returns what the store returns, through every way LangChain has of calling it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests

from splade_ptbr_connectors.errors import ConfigError, StoreClosedError, TextError
from splade_ptbr_connectors.langchain import SpladeRetriever
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import MAX_TOP_K, Store
from splade_ptbr_connectors.stores.entries import EngineFilter
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

from .conftest import QUERIES, make_store

STORE = make_store()


class TestStandardSuite(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[SpladeRetriever]:
        return SpladeRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": make_store()}

    @property
    def retriever_query_example(self) -> str:
        return "prazo da vacina"


def pairs(documents: list[Document]) -> list[tuple[str | None, float]]:
    """Of a retriever that was asked for scores in the metadata."""
    return [(document.id, document.metadata["score"]) for document in documents]


def scored(store: Store, **settings: Any) -> SpladeRetriever:
    return SpladeRetriever(store=store, score_key="score", **settings)


def expected(query: str, k: int, filter: dict[str, Any] | None = None) -> list[tuple[str, float]]:
    return [(hit.doc_id, hit.score) for hit in STORE.search(query, k, filter=filter)]


@given(k=st.integers(1, 20), query=st.sampled_from(QUERIES))
def test_same_ids_scores_and_order_as_the_store_for_every_k(k: int, query: str) -> None:
    assert pairs(scored(STORE, k=k).invoke(query)) == expected(query, k)
    assert pairs(scored(STORE).invoke(query, k=k)) == expected(query, k)
    assert pairs(asyncio.run(scored(STORE).ainvoke(query, k=k))) == expected(query, k)


def test_a_document_holds_text_id_and_flat_metadata() -> None:
    [document] = SpladeRetriever(store=STORE, k=1).invoke("fubá")
    assert document.page_content == "bolo de fubá"
    assert document.id == "doc-9"
    assert document.metadata == {"subject": "saúde", "year": 2009, "title": "Título 9", "url": "u9"}


@pytest.mark.parametrize("query", QUERIES)
async def test_scores_stand_beside_the_documents(query: str) -> None:
    retriever, health = SpladeRetriever(store=STORE, k=3), {"metadata.subject": "saúde"}
    found = retriever.search_with_scores(query)
    assert [(document.id, score) for document, score in found] == expected(query, 3)
    assert [document for document, _ in found] == retriever.invoke(query)
    assert found == await retriever.asearch_with_scores(query)
    narrowed = retriever.search_with_scores(query, 1, health)
    assert [(document.id, score) for document, score in narrowed] == expected(query, 1, health)
    assert narrowed == await retriever.asearch_with_scores(query, k=1, filter=health)


def test_a_document_is_the_same_for_every_query_that_finds_it() -> None:
    by_id: dict[str | None, Document] = {}
    for query in QUERIES:
        for document in SpladeRetriever(store=STORE, k=12).invoke(query):
            assert by_id.setdefault(document.id, document) == document
    assert len(by_id) > 6


def test_a_score_in_the_metadata_is_asked_for_and_takes_no_field_of_the_documents() -> None:
    [document] = SpladeRetriever(store=STORE, k=1, score_key="relevância").invoke("fubá")
    assert document.metadata["relevância"] == 1.0 and "score" not in document.metadata
    with pytest.raises(ConfigError, match="'doc-9' has a field 'year' of its own"):
        SpladeRetriever(store=STORE, k=1, score_key="year").invoke("fubá")


def test_the_title_stands_in_front_of_the_text_if_asked_for(store: MemoryStore) -> None:
    store.upsert_vectors([("sem", store.encoder.encode_query("fubá"), {"title": " ", "text": "só texto"})])
    found = SpladeRetriever(store=store, title=True).invoke("fubá")
    assert {document.page_content for document in found} == {"Título 9\n\nbolo de fubá", "só texto"}
    assert {document.metadata["title"] for document in found} == {"Título 9", " "}
    [only] = SpladeRetriever(store=store, k=1, title=True, content_key="title").invoke("fubá")
    assert only.page_content == "Título 9"


def test_content_key_names_the_payload_field_and_a_wrong_one_is_an_error() -> None:
    [document] = SpladeRetriever(store=STORE, k=1, content_key="title").invoke("fubá")
    assert document.page_content == "Título 9" and document.metadata["text"] == "bolo de fubá"
    with pytest.raises(ConfigError, match=r"'texto'.*text"):
        SpladeRetriever(store=STORE, content_key="texto").invoke("fubá")


def test_vectors_stored_without_a_payload_give_blank_documents_with_their_ids() -> None:
    store = MemoryStore(HashingEncoder())
    store.upsert_vectors([("só-vetor", store.encoder.encode_query("café"))])
    [document] = SpladeRetriever(store=store).invoke("café")
    assert (document.id, document.page_content, document.metadata) == ("só-vetor", "", {})


@pytest.mark.parametrize("own", [{"title": "de dentro", "doc_id": "deste", "score": "dele"}, {}])
def test_a_documents_own_metadata_are_all_there_and_a_blank_title_is_none(own: dict[str, Any]) -> None:
    store = MemoryStore(HashingEncoder())
    store.upsert_vectors([("1", store.encoder.encode_query("café"), {"title": "", "text": "café", "metadata": own})])
    [document] = SpladeRetriever(store=store).invoke("café")
    assert (document.id, document.metadata) == ("1", own)


def test_documents_do_not_share_state_with_the_store() -> None:
    [document] = SpladeRetriever(store=STORE, k=1).invoke("fubá")
    document.metadata["subject"] = "outro"
    [again] = SpladeRetriever(store=STORE, k=1).invoke("fubá")
    assert again.metadata["subject"] == "saúde"


# -- filters -----------------------------------------------------------------------------------------------------------


def test_filters_reach_the_store_from_constructor_and_call() -> None:
    health = {"metadata.subject": "saúde"}
    assert pairs(scored(STORE, filter=health).invoke("prazo vacina")) == expected("prazo vacina", 4, health)
    assert pairs(scored(STORE).invoke("prazo vacina", filter=health)) == expected("prazo vacina", 4, health)
    assert pairs(asyncio.run(scored(STORE).ainvoke("prazo vacina", k=2, filter=health))) == expected("prazo vacina", 2, health)


def test_a_filter_of_a_call_narrows_the_constructors_and_cannot_widen_it() -> None:
    retriever = SpladeRetriever(store=STORE, k=12, filter={"metadata.subject": "culinária"})
    narrowed = retriever.invoke("vacina prazo multa febre bolo", filter={"metadata.year": {"gte": 2005}})
    assert {document.metadata["subject"] for document in narrowed} == {"culinária"}
    assert all(document.metadata["year"] >= 2005 for document in narrowed) and narrowed
    assert retriever.invoke("vacina prazo multa febre bolo", filter={"metadata.subject": "saúde"}) == []


def test_a_native_filter_is_passed_on_but_cannot_be_combined() -> None:
    seen: list[Any] = []

    class Recording(MemoryStore):
        def _search(self, query: Any, top_k: int, filter: Any, with_payload: bool) -> list[Any]:
            seen.append(filter)
            return []

    native = object()
    store = Recording(HashingEncoder())
    SpladeRetriever(store=store).invoke("café", filter=native)
    assert seen == [EngineFilter(native)]
    with pytest.raises(ConfigError, match="cannot be combined"):
        SpladeRetriever(store=store, filter={"a": 1}).invoke("café", filter=native)


def test_a_broken_filter_is_refused_at_construction() -> None:
    with pytest.raises(ConfigError, match="gte"):
        SpladeRetriever(store=STORE, filter={"metadata.year": {"gta": 2000}})


# -- bad settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, MAX_TOP_K + 1, 1_000_000, 2.0, "3", True, None])
def test_bad_k_is_refused_at_construction(k: Any) -> None:
    with pytest.raises(ConfigError, match="k is"):
        SpladeRetriever(store=STORE, k=k)


@pytest.mark.parametrize("k", [0, -1, 1_000_000, 2.0, "3", True])
async def test_bad_k_is_refused_in_a_call(k: Any) -> None:
    with pytest.raises(ConfigError, match="k is"):
        SpladeRetriever(store=STORE).invoke("vacina", k=k)
    with pytest.raises(ConfigError, match="k is"):
        await SpladeRetriever(store=STORE).ainvoke("vacina", k=k)


async def test_unknown_settings_raise_instead_of_vanishing() -> None:
    with pytest.raises(ConfigError, match=r"unknown argument 'top_k'.*did you mean 'k'"):
        SpladeRetriever(store=STORE, top_k=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"unknown argument 'top_k' of invoke\(\) \(did you mean 'k'\?\)"):
        SpladeRetriever(store=STORE).invoke("vacina", top_k=3)
    with pytest.raises(ConfigError, match=r"unknown argument 'top_k' of ainvoke\(\)"):
        await SpladeRetriever(store=STORE).ainvoke("vacina", top_k=3)


def test_the_stores_errors_come_through(store: MemoryStore) -> None:
    with pytest.raises(TextError):
        SpladeRetriever(store=store).invoke("\ud800")
    store.close()
    with pytest.raises(StoreClosedError):
        SpladeRetriever(store=store).invoke("vacina")


def test_something_that_is_no_store_is_refused() -> None:
    for fields in ({"store": "edge:pasta"}, {"store": None}, {}):
        with pytest.raises(ConfigError, match=r"^store is ('edge:pasta'|None): it must be an open store, such as open_store\(.*\)\.$"):
            SpladeRetriever(**fields)


# -- ways of calling ---------------------------------------------------------------------------------------------------


def test_batch_gives_each_query_its_own_hits() -> None:
    answers = scored(STORE, k=3).batch(list(QUERIES))
    assert [pairs(answer) for answer in answers] == [expected(query, 3) for query in QUERIES]


async def test_abatch_gives_each_query_its_own_hits() -> None:
    answers = await scored(STORE, k=3).abatch(list(QUERIES))
    assert [pairs(answer) for answer in answers] == [expected(query, 3) for query in QUERIES]


async def test_many_queries_at_once_on_an_embedded_store(tmp_path: Path) -> None:
    queries = [f"{query} {n % 7}" for n, query in enumerate(QUERIES * 10)]
    with open_store(f"edge:{tmp_path / 'loja'}", encoder=HashingEncoder()) as edge:
        edge.upsert_vectors(STORE.entries.values())
        retriever = scored(edge, k=3)
        one_by_one = [[(hit.doc_id, hit.score) for hit in edge.search(query, 3)] for query in queries]
        assert [pairs(answer) for answer in await retriever.abatch(queries)] == one_by_one
        assert [pairs(answer) for answer in retriever.batch(queries)] == one_by_one
        assert one_by_one[: len(QUERIES)] == [expected(query, 3) for query in queries[: len(QUERIES)]]


def test_with_retry_calls_again_until_the_store_answers() -> None:
    class Flaky(MemoryStore):
        failures = 2

        def _search(self, *arguments: Any) -> list[Any]:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("try again")
            return super()._search(*arguments)

    store = Flaky(HashingEncoder())
    store.entries = STORE.entries
    retriever = scored(store, k=2).with_retry(wait_exponential_jitter=False, stop_after_attempt=3)
    assert pairs(retriever.invoke("vacina")) == expected("vacina", 2)


def test_configurable_fields_change_k_for_one_call_and_check_it() -> None:
    retriever = scored(STORE, k=1).configurable_fields(k=ConfigurableField(id="k"))
    assert pairs(retriever.invoke("vacina", config={"configurable": {"k": 3}})) == expected("vacina", 3)
    assert pairs(retriever.invoke("vacina")) == expected("vacina", 1)
    with pytest.raises(ConfigError, match="k is 0"):
        retriever.invoke("vacina", config={"configurable": {"k": 0}})


def test_piping_into_the_next_step() -> None:
    chain = SpladeRetriever(store=STORE, k=2) | RunnableLambda(lambda documents: [document.id for document in documents])
    assert chain.invoke("vacina") == [doc_id for doc_id, _ in expected("vacina", 2)]


async def test_async_calls_run_beside_each_other_and_off_the_event_loop() -> None:
    store = make_store(together=3)
    retriever = scored(store)
    answers = await asyncio.gather(*(retriever.ainvoke("vacina") for _ in range(3)))  # each waits for the other two
    assert [pairs(answer) for answer in answers] == [expected("vacina", 10)] * 3
    assert threading.main_thread().name not in store.threads


async def test_a_stores_own_async_search_is_used() -> None:
    class Native(MemoryStore):
        async def asearch(self, query: str, top_k: int, *, filter: Any = None, **named: Any) -> list[Any]:
            return self.search(query, top_k, filter=filter)[:1]

    store = Native(HashingEncoder())
    store.entries = STORE.entries
    assert pairs(await scored(store).ainvoke("vacina")) == expected("vacina", 1)
    assert store.threads == {threading.main_thread().name}


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_the_store_is_in_no_repr_and_no_serialisation() -> None:
    retriever = SpladeRetriever(store=STORE)
    assert "store" not in repr(retriever).lower()
    assert "store" not in retriever.model_dump()
    assert "store" not in json.loads(retriever.model_dump_json())


def test_tracing_parameters_name_engine_and_model() -> None:
    assert SpladeRetriever(store=STORE)._get_ls_params() == {
        "ls_retriever_name": "splade",
        "ls_vector_store_provider": "memory",
        "ls_embedding_provider": "splade_ptbr_connectors",
        "ls_embedding_model": "hashing",
    }


@pytest.mark.parametrize(
    ("library", "module", "extra"),
    [
        ("langchain_core", "langchain", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("llama_index.core", "llama_index", "llama-index"),
    ],
)
def test_a_missing_extra_is_named(library: str, module: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from splade_ptbr_connectors.errors import MissingExtraError
try:
    import splade_ptbr_connectors.{module}
except MissingExtraError as error:
    assert error.extra == {extra!r} and "splade-ptbr-connectors[{extra}]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
