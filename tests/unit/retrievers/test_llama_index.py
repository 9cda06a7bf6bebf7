"""The LlamaIndex retriever returns what the store returns, and its asynchronous side is asynchronous."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.filters import parse_filter
from splade_ptbr_connectors.llama_index import SpladeRetriever, translate_filters
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

from .conftest import QUERIES, make_store

STORE = make_store()
YEAR, SUBJECT = "metadata.year", "metadata.subject"


def pairs(nodes: list[NodeWithScore]) -> list[tuple[str, float | None]]:
    return [(node.node_id, node.score) for node in nodes]


def expected(query: str, k: int, filter: dict[str, Any] | None = None) -> list[tuple[str, float]]:
    return [(hit.doc_id, hit.score) for hit in STORE.search(query, k, filter=filter)]


@given(k=st.integers(1, 20), query=st.sampled_from(QUERIES))
def test_same_ids_scores_and_order_as_the_store_for_every_k(k: int, query: str) -> None:
    retriever = SpladeRetriever(store=STORE, similarity_top_k=k)
    assert pairs(retriever.retrieve(query)) == expected(query, k)
    assert pairs(asyncio.run(retriever.aretrieve(QueryBundle(query)))) == expected(query, k)


def test_a_node_holds_text_id_and_flat_metadata() -> None:
    [found] = SpladeRetriever(STORE, 1).retrieve("fubá")
    assert (found.node.node_id, found.node.get_content(), found.score) == ("doc-9", "bolo de fubá", 1.0)
    assert found.node.metadata == {"subject": "saúde", "year": 2009, "title": "Título 9", "url": "u9"}


def test_ten_nodes_by_default() -> None:
    assert len(SpladeRetriever(STORE).retrieve(" ".join(("vacina prazo bolo multa febre gripe café fubá da e de").split()))) == 10


async def test_async_calls_overlap_and_leave_the_event_loop_free() -> None:
    store = make_store(together=3)
    retriever = SpladeRetriever(store=store)
    answers = await asyncio.gather(*(retriever.aretrieve("vacina") for _ in range(3)))  # each waits for the other two
    assert threading.main_thread().name not in store.threads
    assert [pairs(answer) for answer in answers] == [expected("vacina", 10)] * 3


# -- filters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "value", "ours"),
    [
        (FilterOperator.EQ, "saúde", "saúde"),
        (FilterOperator.NE, "saúde", {"not": "saúde"}),
        (FilterOperator.GT, 2003, {"gt": 2003}),
        (FilterOperator.GTE, 2003, {"gte": 2003}),
        (FilterOperator.LT, 2003, {"lt": 2003}),
        (FilterOperator.LTE, 2003.5, {"lte": 2003.5}),
        (FilterOperator.IN, ["saúde", "direito"], ["saúde", "direito"]),
        (FilterOperator.NIN, ["saúde", "direito"], {"not": ["saúde", "direito"]}),
        (FilterOperator.CONTAINS, "saúde", "saúde"),
        (FilterOperator.ANY, ["saúde", "direito"], ["saúde", "direito"]),
        (FilterOperator.ALL, ["saúde"], "saúde"),
        (FilterOperator.EQ, "saúde", {"all": ["saúde"]}),
    ],
)
def test_each_operator_means_what_our_filter_means(operator: FilterOperator, value: Any, ours: Any) -> None:
    key = YEAR if operator.value[0] in "<>" else SUBJECT
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert translate_filters(filters) == parse_filter({key: ours})
    found = pairs(SpladeRetriever(STORE, 12, filters).retrieve("vacina prazo bolo multa febre"))
    assert found == expected("vacina prazo bolo multa febre", 12, {key: ours})
    assert 0 < len(found) < 12


def test_conditions_are_joined_nested_or_not_two_on_one_field_included() -> None:
    since = MetadataFilter(key=YEAR, value=2003, operator=FilterOperator.GTE)
    until = MetadataFilter(key=YEAR, value=2009, operator=FilterOperator.LT)
    subject = MetadataFilter(key=SUBJECT, value="saúde")
    filters = MetadataFilters(filters=[since, MetadataFilters(filters=[until, subject])])
    ours = {YEAR: {"gte": 2003, "lt": 2009}, SUBJECT: "saúde"}
    found = pairs(SpladeRetriever(STORE, 12, filters).retrieve("vacina prazo bolo multa febre café"))
    assert found == expected("vacina prazo bolo multa febre café", 12, ours)
    assert {doc_id for doc_id, _ in found} <= {"doc-3", "doc-6"} and found


@pytest.mark.parametrize(
    ("condition", "ours"),
    [(FilterCondition.OR, lambda parts: {"$or": parts}), (FilterCondition.NOT, lambda parts: {"$not": {"$or": parts}})],
)
def test_alternatives_and_negations(condition: FilterCondition, ours: Any) -> None:
    both = [MetadataFilter(key=SUBJECT, value="saúde"), MetadataFilter(key=YEAR, value=2009, operator=FilterOperator.GTE)]
    filters = MetadataFilters(filters=both, condition=condition)
    meant = ours([{SUBJECT: "saúde"}, {YEAR: {"gte": 2009}}])
    assert translate_filters(filters) == parse_filter(meant)
    assert pairs(SpladeRetriever(STORE, 12, filters).retrieve("vacina prazo bolo")) == expected("vacina prazo bolo", 12, meant)


def test_a_missing_condition_is_refused() -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key=SUBJECT, value="saúde")], condition=None)
    with pytest.raises(ConfigError, match="'and'"):
        SpladeRetriever(STORE, filters=filters)


def test_names_are_those_of_the_metadata() -> None:
    short = SpladeRetriever(STORE, 12, {"subject": "saúde"}).retrieve("vacina prazo bolo")
    assert pairs(short) == expected("vacina prazo bolo", 12, {SUBJECT: "saúde"}) != []


def test_nodes_below_min_score_are_left_out() -> None:
    every = SpladeRetriever(STORE, 12).retrieve("vacina prazo bolo multa febre")
    least = sorted([node.score or 0 for node in every])[len(every) // 2]
    some = SpladeRetriever(STORE, 12, min_score=least).retrieve("vacina prazo bolo multa febre")
    assert pairs(some) == [pair for pair in pairs(every) if pair[1] >= least]


def test_filters_nested_too_deep_are_refused() -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key=SUBJECT, value="saúde")])
    for _ in range(2_000):
        filters = MetadataFilters.model_construct(filters=[filters], condition=FilterCondition.AND)
    with pytest.raises(ConfigError, match="nested more than 10 levels"):
        translate_filters(filters)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        (FilterOperator.CONTAINS, ["saúde"]),
        (FilterOperator.TEXT_MATCH, "saúde"),
        (FilterOperator.ANY, "saúde"),
        (FilterOperator.ALL, "saúde"),
        (FilterOperator.EQ, ["saúde"]),
        (FilterOperator.IN, "saúde"),
        (FilterOperator.EQ, float("nan")),
        (FilterOperator.GT, "saúde"),
    ],
)
def test_other_operators_and_values_are_refused_at_construction(operator: FilterOperator, value: Any) -> None:
    with pytest.raises(ConfigError, match=SUBJECT):
        SpladeRetriever(STORE, filters=MetadataFilters(filters=[MetadataFilter(key=SUBJECT, value=value, operator=operator)]))


def test_one_filter_alone_is_told_at_construction_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"filters is one MetadataFilter, on .*: put it into a list, MetadataFilters"):
        SpladeRetriever(STORE, filters=MetadataFilter(key=SUBJECT, value="saúde"))


def test_our_own_mapping_and_no_filter_work_too() -> None:
    assert pairs(SpladeRetriever(STORE, filters={SUBJECT: "saúde"}).retrieve("vacina")) == expected("vacina", 10, {SUBJECT: "saúde"})
    for empty in (None, {}, MetadataFilters(filters=[])):
        assert pairs(SpladeRetriever(STORE, filters=empty).retrieve("vacina")) == expected("vacina", 10)


# -- bad settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, 1_000_000, 2.0, "3", True, None])
def test_bad_k_is_refused_at_construction(k: Any) -> None:
    with pytest.raises(ConfigError, match="similarity_top_k is"):
        SpladeRetriever(STORE, similarity_top_k=k)


@pytest.mark.parametrize("store", [None, "edge:my-documents"])
def test_a_url_is_no_store(store: Any) -> None:
    with pytest.raises(ConfigError, match=r"must be an open store, such as open_store\("):
        SpladeRetriever(store)


def test_unknown_settings_raise() -> None:
    with pytest.raises(ConfigError, match=r"unknown argument 'top_k'.*did you mean 'similarity_top_k'"):
        SpladeRetriever(STORE, top_k=3)


def test_content_key_names_the_payload_field_and_a_wrong_one_is_an_error() -> None:
    [found] = SpladeRetriever(STORE, 1, content_key="title").retrieve("fubá")
    assert found.node.get_content() == "Título 9"
    with pytest.raises(ConfigError, match="'texto'"):
        SpladeRetriever(STORE, content_key="texto").retrieve("fubá")


def test_vectors_stored_without_a_payload_give_blank_nodes_with_their_ids() -> None:
    store = MemoryStore(HashingEncoder())
    store.upsert_vectors([("só-vetor", store.encoder.encode_query("café"))])
    [found] = SpladeRetriever(store).retrieve("café")
    assert (found.node_id, found.node.get_content(), found.score) == ("só-vetor", "", 1.0)
