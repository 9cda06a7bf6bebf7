"""What min_score leaves out, and which names of filters, and kinds of values in them, are warned of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError, StoreClosedError, StoreUnavailableError
from splade_ptbr_connectors.filters import Condition, Exists, parse_filter, shown_within
from splade_ptbr_connectors.stores import engine_methods, open_store
from splade_ptbr_connectors.stores.base import Entry, EntryPassage, Store
from splade_ptbr_connectors.stores.edge import store as edge_store
from splade_ptbr_connectors.stores.field_names import MAX_AT_ONCE, MAX_QUESTIONS, FieldNames
from splade_ptbr_connectors.stores.qdrant import query as qdrant_query
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.operations import ASYNC
from tests.support.qdrant_server import stand_in

QUERY = SparseVector([1], [1.0])
PASSAGES = [(0, 4, 8.0), (5, 9, 2.0), (10, 14, 5.0)]


@pytest.fixture(params=["edge", "numba", "qdrant"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    options: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=24), "passages": {"passage_tokens": 16}}
    if request.param == "qdrant":
        with stand_in() as server, open_store(f"qdrant+{server.url}/all", **options) as opened:
            yield opened
    else:
        with open_store(f"{request.param}:{tmp_path}", **options) as opened:
            yield opened


def fill(store: Store) -> None:
    passages = tuple(EntryPassage(n, start, end, SparseVector([1], [weight])) for n, (start, end, weight) in enumerate(PASSAGES))
    store.upsert_vectors([Entry("long", passages[0].vector, {"text": "aaaa bbbb cccc", "n": 1}, None, None, passages)])
    store.upsert_vectors([(f"d{n}", SparseVector([1], [float(n)]), {"metadata": {"year": n}}) for n in range(1, 8)])


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("filter", [None, {"metadata.year": {"not": 6}}])
@pytest.mark.parametrize("min_score", [None, -1, 0, 2, 2.5, 5.0, 8, 8.5])
def test_hits_below_are_left_out(store: Store, group: bool, filter: Any, min_score: float | None) -> None:
    fill(store)
    for top_k in (1, 3, 20):
        hits = store.search(QUERY, top_k, filter=filter, group=group)
        expected = [hit for hit in hits if min_score is None or hit.score >= min_score]
        assert store.search(QUERY, top_k, filter=filter, group=group, min_score=min_score) == expected
        bare = store.search(QUERY, top_k, filter=filter, group=group, min_score=min_score, with_payload=False)
        assert [(hit.doc_id, hit.score) for hit in bare] == [(hit.doc_id, hit.score) for hit in expected]


def test_as_asearch_does(store: Store) -> None:
    fill(store)
    assert ASYNC.search(store, QUERY, min_score=5) == store.search(QUERY, min_score=5)


@pytest.mark.parametrize("min_score", [True, "5", float("nan"), float("inf")])
def test_what_no_score_can_be_compared_with(store: Store, min_score: Any) -> None:
    with pytest.raises(ConfigError, match="min_score is"):
        store.search(QUERY, min_score=min_score)


def warned(store: Store, caplog: pytest.LogCaptureFixture, filter: Any, of: str = "which no document has") -> int:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        store.search(QUERY, filter=filter)
    return sum(of in record.message for record in caplog.records)


def test_a_name_that_no_document_has_is_warned_of_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert warned(store, caplog, {"yeer": 1}) == 0  # an empty store knows nothing
    fill(store)
    assert warned(store, caplog, {"yeer": 1}) == 1
    assert warned(store, caplog, {"yeer": 2}) == 0
    assert warned(store, caplog, {"$not": {"$or": [{"metadata.yeer": 1}, {"n": 1}]}}) == 1
    assert warned(store, caplog, {"metadata.year": 99, "n": 7}) == 0
    assert warned(store, caplog, {"ref_doc_id": "a", "_node.id": "b"}) == 0


def test_unknown_fields_are_those_that_no_document_has_now(store: Store) -> None:
    fill(store)
    filter = {"yeer": {"not": 1}, "$or": [{"n": 1}, *[{f"x{n}": 1} for n in range(9)]]}
    assert store.unknown_fields(filter) == []  # no search has looked for one yet
    store.search(QUERY, filter=filter)
    assert store.unknown_fields(filter) == ["yeer", "x0", "x1", "x2"]
    assert store.unknown_fields({"n": 1}) == store.unknown_fields(None) == []
    store.upsert_vectors([("later", QUERY, {"text": "later", "yeer": 1})])
    assert store.unknown_fields(filter) == ["x0", "x1", "x2"]


def test_unknown_fields_are_a_hint_that_never_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(asked: Condition) -> bool | None:
        raise StoreUnavailableError("gone")

    fill(store)
    store.search(QUERY, filter={"yeer": 1})
    assert store.unknown_fields({"yeer": 1}) == ["yeer"]
    monkeypatch.setattr(store, "_has_any", fails)
    assert store.unknown_fields({"yeer": 1}) == []
    store.close()
    with pytest.raises(StoreClosedError):
        store.unknown_fields({"yeer": 1})


def test_a_search_looks_up_few_names_and_never_fails_by_that(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    asked: list[Exists] = []

    def fails(name: Condition) -> bool | None:
        assert isinstance(name, Exists)  # what was not found out is not asked for its kind
        asked.append(name)
        raise StoreUnavailableError("gone")

    async def afails(name: Condition) -> bool | None:
        return fails(name)

    monkeypatch.setattr(store, "_has_any", fails)
    monkeypatch.setattr(store, "_ahas_any", afails)
    many = {"$or": [{"n": {"gte": 0}}, *[{f"x{n}": 1} for n in range(2 * MAX_QUESTIONS)]]}
    assert [hit.doc_id for hit in store.search(QUERY, filter=many)] == ["long"]
    assert [name.field for name in asked] == ["x0", "x1", "x2", "x3"]  # MAX_AT_ONCE
    for _ in range(MAX_QUESTIONS // MAX_AT_ONCE + 5):  # enough to look up more than are allowed
        assert len(ASYNC.search(store, QUERY, filter=many)) == 1
    assert len(asked) <= MAX_QUESTIONS + 4
    assert len({name.field for name in asked}) == len(asked)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and "x0" in record.message]


def test_names_are_not_sought_where_that_takes_long(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    for module in (engine_methods, edge_store, qdrant_query):
        monkeypatch.setattr(module, "LOOKED_THROUGH", 3)
    assert warned(store, caplog, {"yeer": 1}) == 0


def test_a_name_that_frameworks_show_is_known_wherever_it_lies(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    fill(store)
    assert warned(store, caplog, shown_within(parse_filter({"year": 99, "n": 99}), "metadata")) == 0
    assert warned(store, caplog, shown_within(parse_filter({"yeer": 1}), "metadata")) == 1
    assert warned(store, caplog, shown_within(parse_filter({"_yeer": 1}), "metadata")) == 1
    store.upsert_vectors([("_s", QUERY, {"metadata": {"_source": "a.pdf"}})])
    assert [hit.doc_id for hit in store.search(QUERY, filter=shown_within(parse_filter({"_source": "a.pdf"}), "metadata"))] == ["_s"]
    assert [hit.doc_id for hit in store.search(QUERY, filter=shown_within(parse_filter({"year": 3}), "metadata"))] == ["d3"]


# what a filter compares with, the kind that a document has to have there for that, and a text of the warning
COMPARED = [
    (2024, "number"),
    (20.5, "number"),
    ({"gte": 2000}, "number"),
    ({"not": [2024, 2025]}, "number"),
    (True, "boolean"),
    ("2024", "text"),
    (["a", "b"], "text"),
    ({"gte": "2024-01-01"}, "date"),
    (date(2024, 1, 1), "date"),
]
HELD: dict[str, list[Any]] = {
    "number": [1999, -1e300, [2, 3]],
    "boolean": [False],
    "text": ["1999", "x"],
    "date": ["1999-12-31", ["2024-03-01T10:00:00Z"]],
}


@pytest.mark.parametrize("within", [True, False])
def test_a_kind_of_value_that_no_document_has_is_warned_of_once(store: Store, caplog: pytest.LogCaptureFixture, within: bool) -> None:
    values = {f"{held}{number}": value for held, some in HELD.items() for number, value in enumerate(some)}
    payloads = [{name: value} for name, value in values.items()]
    store.upsert_vectors([(f"d{n}", QUERY, {"metadata": one} if within else one) for n, one in enumerate(payloads)])
    for compared, kind in COMPARED:
        store._field_names = FieldNames(store.url)  # as a store that is opened anew
        for name in values:
            held = name[:-1]
            fits = held == kind or (held, kind) == ("date", "text")  # a date is a text
            filter = {"metadata." * within + name: compared}
            told = [warned(store, caplog, filter, f"with a {kind}, and ") for _ in range(2)]
            assert told == [0 if fits else 1, 0], (name, compared)
            assert warned(store, caplog, filter) == 0


def test_a_filter_that_compares_with_several_kinds_is_meant_so(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    fill(store)
    assert warned(store, caplog, {"metadata.year": ["99", 99]}, "compares") == 0
    store.upsert_vectors([("mixed", QUERY, {"mixed": [1, "a"]})])
    assert warned(store, caplog, {"mixed": "a"}, "compares") == 0
    assert warned(store, caplog, {"metadata.year": ["99"]}, "compares the field 'metadata.year' with a text, and every document") == 1
