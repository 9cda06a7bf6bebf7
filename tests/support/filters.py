"""Payloads and filters of every kind for hypothesis: all operators, nesting, odd values and odd names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import strategies as st

from splade_ptbr_connectors.errors import RecordError
from splade_ptbr_connectors.stores.dotted_names import spread

BRASILIA = dt.timezone(dt.timedelta(hours=-3))
DATE_TEXTS = [
    *("2024-02-29", "2024-03-01", "2024-03-01T00:00:00Z", "2024-02-29T21:00:00-03:00", "2024-03-01 00:00", "2024-03-01T00:00:00.000001Z"),
    *("2024-03-01T00:00:00.5", "1889-11-15", "0001-01-01", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999"),
]
NO_DATES = ["2023-02-29", "2024-03-01T12:00Z", "2024-03", "2024", "20240301", "2024-03-01Z", "1 de março de 2024", "2024-03-01T25:00:00"]
MOMENTS: list[Any] = [
    *(dt.date(2024, 3, 1), dt.datetime(2024, 3, 1), dt.datetime(2024, 2, 29, 21, tzinfo=BRASILIA), dt.date(1889, 11, 15)),
    *(dt.datetime(2024, 3, 1, microsecond=1, tzinfo=dt.UTC), dt.datetime.max, dt.date.min),
]
# floats of few digits: of many, the JSON reader of Qdrant's engine may get the last bit wrong
numbers = st.sampled_from([0, 1, 2, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.0, 1.0, 0.5, -1.5, 2.5, 2.0**53, 1e300])
texts = st.sampled_from(["", "x", "y", "ação", "1", "true", "None", "x" * 200, *DATE_TEXTS, *NO_DATES])
scalars = numbers | st.booleans() | texts
values = scalars | st.none() | st.lists(scalars | st.none() | st.just([1]) | st.just({"a": 1}), max_size=3) | st.just({})
inner = st.dictionaries(st.sampled_from(["a", "n", "t.u"]), values, max_size=2)


def _is_stored(payload: Mapping[str, Any]) -> bool:
    try:
        spread(payload, "d")
    except RecordError:  # two values under one path
        return False
    return True


payloads = st.dictionaries(st.sampled_from(["a", "n", "d.1", "m.n", "ç ã", "x[0]", "$or"]), values, max_size=3)
payloads = st.builds(lambda flat, nested: {**flat, **nested}, payloads, st.just({}) | st.fixed_dictionaries({"m": inner | values}))
payloads = payloads.filter(_is_stored)
FIELDS = ["a", "n", "d.1", '"d.1"', "d", "m", "m.a", "m.n", '"m.n"', "m.t.u", 'm."t.u"', "m.t", "missing", "ç ã", '"x[0]"', '"$or"']

compared = scalars | st.none() | st.sampled_from(MOMENTS)
wanted = compared | st.lists(compared, max_size=3)
KEYS = st.sampled_from(["gt", "gte", "lt", "lte"])
numeric = st.dictionaries(KEYS, numbers, min_size=1, max_size=2)
temporal = st.dictionaries(KEYS, st.sampled_from([*DATE_TEXTS, *MOMENTS]), min_size=1, max_size=2)
operators = st.fixed_dictionaries({}, optional={"not": wanted, "all": st.lists(compared, max_size=2), "exists": st.booleans()})
conditions = (
    wanted | numeric | temporal | st.builds(lambda some, more: {**some, **more}, numeric | temporal, operators) | operators.filter(bool)
)
flat = st.dictionaries(st.sampled_from(FIELDS), conditions, max_size=2)
filters = st.recursive(
    flat,
    lambda inner: (
        st.builds(lambda beside, name, parts: {**beside, name: parts}, flat, st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3))
        | st.builds(lambda beside, part: {**beside, "$not": part}, flat, inner)
    ),
    max_leaves=5,
)


def query_passes(query: Mapping[str, Any], terms: Collection[str]) -> bool:
    """Whether a document of OpenSearch with these facets passes a query of the kinds that filters become."""
    [(kind, body)] = query.items()
    if kind == "bool":
        return clauses_pass(body, terms)
    if kind in ("match_all", "match_none"):
        return kind == "match_all"
    wanted = body["facets"]
    if kind == "range":
        return any(wanted["gte"].encode() <= term.encode() < wanted["lt"].encode() for term in terms)
    return any(term in terms for term in (wanted if kind == "terms" else [wanted]))


def clauses_pass(clauses: Mapping[str, Any], terms: Collection[str]) -> bool:
    """The same of a bool query; `should` without `filter` must be fulfilled."""
    assert clauses.keys() <= {"filter", "must_not", "should", "minimum_should_match"}
    if not all(query_passes(each, terms) for each in clauses.get("filter", [])):
        return False
    if any(query_passes(each, terms) for each in clauses.get("must_not", [])):
        return False
    return "should" not in clauses or any(query_passes(each, terms) for each in clauses["should"])
