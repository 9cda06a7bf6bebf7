"""Pure functions of the OpenSearch store: features as text, payloads as terms, names, mappings, queries, capabilities."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.filters import parse_filter
from splade_ptbr_connectors.stores.base import EngineFilter, Entry
from splade_ptbr_connectors.stores.calls import Operation, drive
from splade_ptbr_connectors.stores.model_stamp import ModelStamp, StoreDescription
from splade_ptbr_connectors.stores.opensearch import NativeFilter, OpenSearchSettings, query
from splade_ptbr_connectors.stores.opensearch.client import Capabilities, detect, max_clauses, plugin_names, version_tuple
from splade_ptbr_connectors.stores.opensearch.filters import clause_count, restrict_to_tenant
from splade_ptbr_connectors.stores.opensearch.mapping import check_name, creation, fixed_settings, read_index, write_alias_name
from splade_ptbr_connectors.stores.opensearch.schema import with_saved_settings
from splade_ptbr_connectors.stores.opensearch.wire import (
    LARGEST,
    MAX_TEXT_BYTES,
    SMALLEST,
    FeatureLayout,
    facets,
    index_actions,
    number_key,
    serialize_slow,
    to_entry,
    to_vector,
)
from splade_ptbr_connectors.stores.opensearch.write import Action, Writes, index_lines
from splade_ptbr_connectors.stores.oversize import batched_by_bytes
from splade_ptbr_connectors.stores.settings import read_settings
from splade_ptbr_connectors.vectors import SparseVector

MODEL = ModelStamp("model", "f" * 64, 29_794, {"model": "model"})
TINY = float(np.finfo(np.float32).tiny)

weights = (
    st.floats(TINY, 2.0**127, width=32) | st.floats(2**-10, 16, width=32) | st.sampled_from([float(SMALLEST), float(LARGEST), 9.999999])
)
terms = st.integers(0, 40_000) | st.integers(0, 2**32 - 1) | st.sampled_from([0, 99_999, 100_000])
vectors = st.dictionaries(terms, weights, max_size=6).map(SparseVector.from_dict)


# -- features as text ----------------------------------------------------------------------------------------------------


layouts = st.sampled_from([0, 1, 7, 2048, 100_000]).map(FeatureLayout)


def parsed(text: bytes) -> SparseVector:
    return to_vector(json.loads(b"{" + text + b"}"))


@given(st.lists(vectors, max_size=6), layouts)
def test_a_reader_of_json_gets_the_same_float32_back(batch: list[SparseVector], layout: FeatureLayout) -> None:
    texts = layout.serialize(batch)
    assert [parsed(text) for text in texts] == batch
    for text, vector in zip(texts, batch, strict=True):
        stored = json.loads(b"{" + text + b"}")
        assert json.loads(b"{" + serialize_slow(layout._groups(vector)) + b"}").keys() == stored.keys()
        for term in vector.term_ids.tolist():  # it lies where a query looks for it
            value: Any = {"sparse": stored}
            for name in layout.path(term).split("."):
                value = value[name]
            assert np.float32(value) == vector.to_dict()[term]


def test_names_recur_so_that_the_server_keeps_them() -> None:
    text = FeatureLayout().serialize([SparseVector(np.arange(30_000), np.ones(30_000))])[0]
    names = {name for block in json.loads(b"{" + text + b"}").values() for name in block}
    assert len(names) <= 2048


@given(layouts, st.integers(1, 300_000))
def test_a_layout_is_read_from_what_the_index_says(layout: FeatureLayout, vocab_size: int) -> None:
    vocab_size = min(vocab_size, 1000 * (layout.terms_per_field or vocab_size))
    mapping = layout.mapping(vocab_size, {"type": "rank_features"})
    assert FeatureLayout.of_scheme(layout.scheme, "here") == layout
    if layout.terms_per_field == 0 or vocab_size > layout.terms_per_field:
        assert FeatureLayout.of_mapping(mapping) == layout
    first = layout.path(vocab_size - 1).split(".")[1]
    assert not layout.terms_per_field or first in mapping["properties"]


@pytest.mark.parametrize(
    "scheme", [None, "tokens", "vocabulary ids, split by ", "vocabulary ids, split by 0", "vocabulary ids, split by 9999999", 3]
)
def test_an_unknown_scheme_is_refused(scheme: Any) -> None:
    with pytest.raises(errors.StoreFormatError, match="names its features by"):
        FeatureLayout.of_scheme(scheme, "here")


@pytest.mark.parametrize("layout", [FeatureLayout(), FeatureLayout(0)], ids=str)
def test_every_kind_of_float32_in_the_usual_range(layout: FeatureLayout) -> None:
    low, high = np.float32(SMALLEST).view(np.int32), np.float32(LARGEST).view(np.int32)
    bits = np.random.default_rng(0).integers(low, high, 200_000).astype(np.int32)
    bits[:2000], bits[2000:4000] = np.arange(low, low + 2000), np.arange(high - 2000, high)
    vector = SparseVector(np.arange(100_000), bits[:100_000].view(np.float32))
    other = SparseVector(np.arange(100_000), bits[100_000:].view(np.float32))
    texts = layout.serialize([vector, other])
    assert parsed(texts[0]) == vector
    assert parsed(texts[1]) == other
    assert not any(b"e" in text for text in texts)  # all of the fast kind


# -- documents -----------------------------------------------------------------------------------------------------------


def undotted(name: str) -> bool:
    """Whether it is not a name that could stand for the same path as another: these are in tests/unit/stores/test_dotted_names.py."""
    return "." not in name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4).filter(undotted), inner, max_size=3),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(max_size=6).filter(undotted), json_values, max_size=4)
texts = st.text(min_size=1, max_size=12)


@given(texts, vectors, payloads, st.none() | texts, st.none() | texts)
def test_a_document_is_two_lines_of_json_that_give_the_entry_back(
    doc_id: str, vector: SparseVector, payload: dict[str, Any], content_hash: str | None, tenant: str | None
) -> None:
    entry = Entry(doc_id, vector, payload, content_hash)
    [action] = index_actions([entry], tenant, FeatureLayout())
    first, second, end = action.split(b"\n")
    assert end == b""
    assert (json.loads(first)["index"]["_id"] == doc_id) == (tenant is None)
    source = json.loads(second)
    assert source.get("tenant") == tenant
    assert source["n_terms"] == len(vector)
    assert to_entry(source, "here") == entry


def test_a_document_of_somebody_else() -> None:
    with pytest.raises(errors.StoreFormatError, match="without a doc_id"):
        to_entry({"text": "x"}, "here")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(1, 60))
def test_batches_keep_order_and_size(bodies: list[bytes], max_bytes: int) -> None:
    actions = [Action(str(n), body) for n, body in enumerate(bodies)]
    batches = list(batched_by_bytes(actions, lambda action: len(action.lines), max_bytes))
    assert [action for batch in batches for action in batch] == actions
    assert all(batch and (len(batch) == 1 or sum(len(action.lines) for action in batch) <= max_bytes) for batch in batches)
    for one, following in itertools.pairwise(batches):
        assert sum(len(action.lines) for action in one) + len(following[0].lines) > max_bytes


# -- filters -------------------------------------------------------------------------------------------------------------

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) - 9, 2**53 + 9)


@given(numbers, numbers)
def test_keys_are_ordered_as_the_numbers_are(one: float, other: float) -> None:
    first, second = number_key(one), number_key(other)
    assert (first < second, first == second) == (one < other, one == other)
    assert len(first) == 19


near = st.integers(-3, 3) | st.sampled_from([-1.5, -0.0, 0.5, 2.0, 2**53, 2**53 + 1, 2.0**53, 2**62 + 1, 2**63 - 1, 2.0**63, -(2**63)])
bound_values = st.fixed_dictionaries({}, optional={key: near for key in ("gt", "gte", "lt", "lte")}).filter(bool)


@given(near | numbers, bound_values)
def test_a_range_of_numbers_is_a_range_of_terms(value: float, bounds: dict[str, float]) -> None:
    [condition] = parse_filter({"a": bounds})
    [clause] = restrict_to_tenant((condition,), None)["filter"]
    terms = clause["range"]["facets"]
    term = facets({"a": value})[-1]
    within = all(
        {"gt": value > bound, "gte": value >= bound, "lt": value < bound, "lte": value <= bound}[key] for key, bound in bounds.items()
    )
    assert (terms["gte"] <= term < terms["lt"]) == within
    assert not any(terms["gte"] <= other < terms["lt"] for other in facets({"a": [str(value), True], "a=": value, "aa": value}))


@given(payloads, payloads)
def test_paths_and_values_do_not_run_into_each_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (set(facets(one)) == set(facets(other))) or one != other
    assert {term for term in facets({"a": one}) if term.startswith("a=")} == {"a=e:"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"a": {"b": "c"}}, ["a=e:", "a.b=e:", "a.b=s:c"]),
        ({"a.b": "c"}, ["a\\.b=e:", "a\\.b=s:c", "a=e:", "a.b=e:", "a.b=s:c"]),
        ({"a=s:b": "c"}, ["a\\=s:b=e:", "a\\=s:b=s:c"]),
        ({"a\\": "c"}, ["a\\\\=e:", "a\\\\=s:c"]),
        ({"a": ["x", "y", None, ["z"], {"b": 1}]}, ["a=e:", "a=s:x", "a=s:y"]),
        ({"a": True, "b": "true"}, ["a=e:", "a=b:true", "b=e:", "b=s:true"]),
        ({"a": None, "b": [], "c": {}, "d": [None]}, ["c=e:", "d=e:"]),
        ({"a": "1970-01-01"}, ["a=e:", "a=s:1970-01-01", "a=d:400000000000000000"]),
    ],
)
def test_terms_of_a_payload(payload: dict[str, Any], expected: list[str]) -> None:
    assert facets(payload) == expected


@given(st.text(max_size=300), st.text(max_size=300))
def test_terms_are_short_whatever_a_payload_holds(name: str, value: str) -> None:
    terms = facets({name: value})
    assert all(len(term.encode()) <= 2 * (MAX_TEXT_BYTES + 4) + 40 for term in terms)
    if name != value:
        assert facets({value: value})[0] != terms[0]


@pytest.mark.parametrize(
    "filter",
    [
        {"a..b": 1},
        {".": 1},
        {'a"b': 1},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": list(range(70_000))},
        {"a[0]": 1},
        {"a[].b": 1},
    ],
    ids=lambda filter: ascii(filter)[:20],
)
def test_bad_filters(filter: Any) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        restrict_to_tenant(parse_filter(filter), None)
    assert "\n" not in str(caught.value)


def test_a_native_filter_nested_beyond_what_a_server_takes() -> None:
    query: dict[str, Any] = {"match_all": {}}
    for _ in range(100_000):
        query = {"bool": {"filter": query}}
    for deep in (NativeFilter(query), NativeFilter({"bool": {"filter": [query]}})):
        with pytest.raises(errors.ConfigError, match="nested more than 200 levels"):
            restrict_to_tenant(EngineFilter(deep), "a")


@pytest.mark.parametrize("filter", [7, "a", [1], object(), NativeFilter])
def test_what_is_no_filter(filter: Any) -> None:
    with pytest.raises(errors.ConfigError, match=r"must be a mapping such as .*, a NativeFilter"):
        restrict_to_tenant(EngineFilter(filter), None)


@pytest.mark.parametrize("query", [{}, {"a": 1, "b": 2}, [], None, "match_all"])
def test_what_is_no_native_filter(query: Any) -> None:
    with pytest.raises(errors.ConfigError, match="one OpenSearch query"):
        NativeFilter(query)


def test_the_tenant_is_a_clause_of_its_own_beside_any_filter() -> None:
    mine = {"term": {"tenant": "a"}}
    assert restrict_to_tenant((), "a") == {"filter": [mine]}
    assert restrict_to_tenant((), None) == {}
    assert restrict_to_tenant(EngineFilter(NativeFilter({"match_all": {}})), "a")["filter"] == [{"match_all": {}}, mine]
    assert restrict_to_tenant(parse_filter({"x": {"not": "y"}}), "a") == {"filter": [mine], "must_not": [{"terms": {"facets": ["x=s:y"]}}]}


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        *[({}, 0), ({"x": 1, "y": {"gt": 1, "not": 5}}, 3), ({"x": list(range(9))}, 1), ({"$or": [{"x": n} for n in range(9)]}, 1)],
        *[({"$or": [{"x": 1, "y": 2}, {"z": None}]}, 4), ({"$not": {"x": {"not": 1}, "y": 2}}, 3), ({"$or": []}, 1)],
    ],
)
def test_clauses_are_counted_as_the_server_counts_them(filter: dict[str, Any], count: int) -> None:
    """Those that hold no others; negations alone get one more."""
    assert clause_count(restrict_to_tenant(parse_filter(filter), None)) == count
    assert clause_count(restrict_to_tenant(parse_filter(filter), "a")) == count + 1


# -- names and mappings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["laws", "leis-2020", "ação", "0", "a" * 255, "a.b", "a-b_c+d"])
def test_good_index_names(name: str) -> None:
    assert check_name(name) == name
    assert len(write_alias_name(name, "x").encode()) <= 255
    assert check_name(write_alias_name(name, "x"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Laws",
        "-a",
        "_a",
        "+a",
        ".",
        "..",
        ".a",
        "a*",
        "a,b",
        "a b",
        "a/b",
        "a\\b",
        'a"',
        "<a>",
        "a|b",
        "a#",
        "a:b",
        "a?",
        "a" * 256,
        "a\n",
    ],
)
def test_bad_index_names(name: str) -> None:
    with pytest.raises(errors.ConfigError, match="index name"):
        check_name(name)


def made(settings: OpenSearchSettings, name: str = "laws") -> dict[str, Any]:
    description = StoreDescription("opensearch", MODEL, {"field_type": settings.field_type, "weight_ceiling": settings.weight_ceiling})
    return creation(description, settings, name)


@pytest.mark.parametrize(("field_type", "terms"), [("rank_features", 2048), ("rank_features", 0), ("sparse_vector", 2048)])
def test_an_index_is_read_as_it_was_made(field_type: str, terms: int) -> None:
    body = made(OpenSearchSettings(field_type=field_type, shards=3, replicas=2, terms_per_field=terms))
    assert body["settings"]["index.number_of_shards"] == 3
    assert body["mappings"]["dynamic"] == "strict"
    index = read_index({"laws": {**body, "settings": {**body["settings"], "index.uuid": "u"}}}, "laws")
    assert (index.name, index.field_type, index.write_alias, index.aliases) == ("laws", field_type, next(iter(body["aliases"])), ())
    assert index.layout == FeatureLayout(terms if field_type == "rank_features" else 0)
    assert index.description is not None
    assert index.description.model == MODEL
    assert with_saved_settings(with_saved_settings(index.meta, {"a": None})["_meta"], None)["_meta"] == index.meta


def test_a_mapping_of_another_kind_is_named() -> None:
    body = made(OpenSearchSettings())
    for field, kind in (("payload", {"type": "object"}), ("facets", {"type": "text"}), ("doc_id", None)):
        properties = {**body["mappings"]["properties"], field: kind}
        with pytest.raises(errors.StoreFormatError, match=f"'{field}'"):
            read_index({"laws": {**body, "mappings": {**body["mappings"], "properties": properties}}}, "laws")


@pytest.mark.parametrize(
    "bad",
    [
        {"shards": 0},
        {"replicas": -1},
        {"field_type": "dense"},
        {"query": "match"},
        {"max_in_flight": 0},
        {"max_request_bytes": 0},
        {"max_body_bytes": 0},
        {"timeout_s": 0.0},
        {"load_timeout_s": math.nan},
        {"deadline_s": -1.0},
        {"merge_segments": 0},
        {"terms_per_field": -1},
        {"field_type": "sparse_vector", "query": "rank_feature"},
        {"shard": 1},
    ],
    ids=str,
)
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError):
        read_settings(OpenSearchSettings, bad)


# -- queries -------------------------------------------------------------------------------------------------------------

QUERY = SparseVector([3, 7], [0.5, 2.0])
MINE: query.Clauses = {"filter": [{"term": {"tenant": "a"}}]}


def test_rank_feature_has_to_match_and_is_linear() -> None:
    assert query.rank_feature(QUERY, MINE, FeatureLayout(0))["bool"] == {
        "should": [
            {"rank_feature": {"field": "sparse.3", "linear": {}, "boost": 0.5}},
            {"rank_feature": {"field": "sparse.7", "linear": {}, "boost": 2.0}},
        ],
        "minimum_should_match": 1,
        **MINE,
    }


@given(vectors)
def test_a_query_carries_every_weight_bit_by_bit(vector: SparseVector) -> None:
    assert SparseVector(vector.term_ids, json.loads(json.dumps(query.boosts(vector)))) == vector


def test_neural_sparse_takes_tokens_within_its_bounds() -> None:
    assert query.neural_sparse(QUERY, MINE) == {
        "bool": {"must": [{"neural_sparse": {"sparse": {"query_tokens": {"3": 0.5, "7": 2.0}}}}], **MINE}
    }
    with pytest.raises(errors.ConfigError, match=r"weight of 64\.5"):
        query.neural_sparse(SparseVector([1], [64.5]), {})


def test_sparse_vector_uses_all_terms_and_is_exact_under_a_filter() -> None:
    def method(body: dict[str, Any]) -> Any:
        return body["bool"]["must"][0]["neural_sparse"]["sparse"].get("method_parameters")

    assert method(query.sparse_vector(QUERY, {}, 50, 1.5)) == {"top_n": 2, "k": 50, "heap_factor": 1.5}
    assert method(query.sparse_vector(QUERY, MINE, 50, 1.5)) is None


def test_scores_are_float32_and_zero_is_no_hit() -> None:
    rows = [{"_score": score, "sort": [score, str(score)]} for score in (0.99902344, 0.1, 0.0)]
    assert [hit.score for hit in query.hits({"hits": {"hits": rows}}, "url")] == [0.9990234375, float(np.float32(0.1))]


def test_a_hit_without_a_document_id_is_a_foreign_document() -> None:
    with pytest.raises(errors.StoreFormatError, match="without a doc_id"):
        query.hits({"hits": {"hits": [{"_score": 1.0, "sort": [1.0, None], "_source": {}}]}}, "url")


def test_a_search_reads_payloads_or_no_document_at_all() -> None:
    assert query.search_body({}, 5, True)["_source"] == ["payload"]
    bare = query.search_body({}, 5, False)
    assert (bare["_source"], bare["stored_fields"]) == (False, "_none_")


# -- what the server has -------------------------------------------------------------------------------------------------


def answering(operation: Operation[Any], answers: dict[str, Any]) -> Any:
    return drive(operation, lambda call: call.make(Answering(answers)))


class Answering:
    """A client whose methods answer what is planned for their name, such as "cat.plugins"."""

    def __init__(self, answers: dict[str, Any], name: str = "") -> None:
        self._answers, self._name = answers, name

    def __getattr__(self, name: str) -> Answering:
        return Answering(self._answers, f"{self._name}.{name}".removeprefix("."))

    def __call__(self, **arguments: Any) -> Any:
        answer = self._answers[self._name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def reading(settings: OpenSearchSettings) -> Writes:
    """The operations on an index that was made with these settings."""
    operations = Writes("url", "laws", settings)
    operations.take(read_index({"laws": made(settings)}, "laws"))
    return operations


WITH_PLUGIN = {
    "info": {"version": {"distribution": "opensearch", "number": "3.6.0"}},
    "cat.plugins": [{"component": "opensearch-neural-search"}, {"component": "opensearch-security"}, {"component": "opensearch-security"}],
    "cluster.get_settings": {"persistent": {"indices.query.bool.max_clause_count": "2048"}},
}
WITHOUT_PLUGIN = {**WITH_PLUGIN, "cat.plugins": []}


@pytest.mark.parametrize(
    ("answers", "weights", "form"),
    [
        (WITH_PLUGIN, [0.5, 2.0], "neural_sparse"),
        (WITH_PLUGIN, [0.5, 65.0], "rank_feature"),
        (WITHOUT_PLUGIN, [0.5, 2.0], "rank_feature"),
        ({**WITH_PLUGIN, "info": {"version": {"number": "2.13.0", "distribution": "opensearch"}}}, [0.5, 2.0], "rank_feature"),
        ({**WITH_PLUGIN, "cat.plugins": errors.StoreAccessError("no")}, [0.5, 2.0], "rank_feature"),
    ],
)
def test_the_form_follows_what_the_server_has(answers: dict[str, Any], weights: list[float], form: str) -> None:
    operations = reading(OpenSearchSettings(terms_per_field=0))
    body = answering(operations.query(SparseVector([3, 7], weights), 10, {}), answers)
    assert form in json.dumps(body)


def test_several_fields_are_searched_without_the_plugin() -> None:
    operations = reading(OpenSearchSettings())
    assert "rank_feature" in answering(operations.query(QUERY, 10, {}), WITH_PLUGIN)["bool"]["should"][0]
    split = read_index({"laws": made(OpenSearchSettings())}, "laws")
    with pytest.raises(errors.StoreFormatError, match="terms_per_field=0"):
        fixed_settings(split, OpenSearchSettings(query="neural_sparse"))
    assert made(OpenSearchSettings(query="neural_sparse"))["mappings"]["properties"]["sparse"] == {"type": "rank_features"}


def test_a_server_that_is_down_is_not_taken_for_one_without_plugins() -> None:
    with pytest.raises(errors.StoreUnavailableError):
        answering(detect(), {**WITH_PLUGIN, "cat.plugins": errors.StoreUnavailableError("down")})


def test_the_limit_of_clauses_is_the_servers_own() -> None:
    operations = reading(OpenSearchSettings(query="rank_feature"))
    query = SparseVector(np.arange(2050), np.arange(1, 2051))
    body = answering(operations.query(query, 10, MINE), WITH_PLUGIN)
    kept = len(body["bool"]["should"])
    assert 2040 <= kept < 2048
    assert body["bool"]["should"][0]["rank_feature"]["field"] == FeatureLayout().path(2050 - kept)
    assert operations.pruned == 1
    filter = restrict_to_tenant(parse_filter({"$or": [{"x": {"gt": n}} for n in range(2047)]}), None)
    assert len(answering(operations.query(query, 10, filter), WITH_PLUGIN)["bool"]["should"]) == 1
    filter = restrict_to_tenant(parse_filter({"$or": [{"x": {"gt": n}} for n in range(2048)]}), None)
    with pytest.raises(errors.ConfigError, match="has 2,048 conditions"):
        answering(operations.query(query, 10, filter), WITH_PLUGIN)


def test_what_a_cluster_says_about_itself() -> None:
    assert (
        max_clauses(
            {"defaults": {"indices.query.bool.max_clause_count": "1024"}, "transient": {"indices.query.bool.max_clause_count": "9"}}
        )
        == 9
    )
    for nothing in (None, {}, [], {"defaults": {}}, {"defaults": {"indices.query.bool.max_clause_count": "many"}}):
        assert max_clauses(nothing) == 1024
    assert plugin_names([{"component": "b"}, {"component": "a"}, {"component": "b"}, {}, 3]) == ("a", "b")
    assert plugin_names(None) == ()
    assert version_tuple("3.6.0-SNAPSHOT") == (3, 6, 0)
    assert version_tuple("three") == ()
    assert not Capabilities("opensearch", "3.2.0", ("opensearch-neural-search",), 1024).sparse_vector


# -- sparse_vector -------------------------------------------------------------------------------------------------------


def test_sparse_vector_is_refused_where_it_cannot_be_had() -> None:
    settings = OpenSearchSettings(field_type="sparse_vector")
    large = ModelStamp("multilingual", "f" * 64, 105_000, {})
    with pytest.raises(errors.ConfigError, match="105,000 terms, a sparse_vector field keeps 32,768 apart"):
        answering(Writes("url", "laws", settings).create(large), WITH_PLUGIN)
    with pytest.raises(errors.ConfigError, match="needs the neural-search plugin"):
        answering(Writes("url", "laws", settings).create(MODEL), WITHOUT_PLUGIN)


def test_a_weight_that_would_be_clipped_is_refused() -> None:
    entries = [Entry("a", SparseVector([1], [16.5])), Entry("b", SparseVector([1], [16.0])), Entry("c", SparseVector([], []))]
    actions, refusals = index_lines(entries, None, FeatureLayout(0), 16.0)
    assert [action.doc_id for action in actions] == ["b", "c"]
    assert [refusal.doc_id for refusal in refusals] == ["a"]
    assert len(index_lines(entries, None, FeatureLayout(), None)[0]) == 3
