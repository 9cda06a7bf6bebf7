"""Documents of one to nine passages for hypothesis, and an exact store of them in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import mean
from typing import Any

from hypothesis import strategies as st

from splade_ptbr_connectors.stores.base import Entry, EntryPassage, Hit, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.operations import FILTERS, IDS, filters, payloads, perform, vectors
from tests.support.oracle import Key, Oracle, dot

LETTERS = "abcdefghi" * 10
SHORT_IDS = IDS[:8]
TEXT_FILTERS: list[dict[str, Any]] = [
    {"text": {"not": LETTERS}},
    {"text": LETTERS},
    {"text": [LETTERS, "outro"], "group": 1},
    {"text": {"not": "outro"}, "group": {"lt": 2}},
    {"group": {"not": 1}, "text": {"not": ["x"]}},
]

spans = st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda span: (span[0], span[0] + span[1]))
pieces = st.lists(st.tuples(spans, vectors), min_size=1, max_size=9)


def document(doc_id: str, pieces: Sequence[Any], payload: Mapping[str, Any], dense: Any = None) -> Entry:
    """A document of these (span, vector); of a single one it has no passages."""
    passages = tuple(EntryPassage(number, *span, vector) for number, (span, vector) in enumerate(pieces))
    content = {**payload, "text": LETTERS}
    return Entry(doc_id, passages[0].vector, content, None, dense, passages if len(passages) > 1 else ())


documents = st.builds(document, st.sampled_from(SHORT_IDS), pieces, payloads)
operations = st.lists(
    st.tuples(st.just("upsert"), st.lists(documents, max_size=6))
    | st.tuples(st.just("delete"), st.lists(st.sampled_from(SHORT_IDS), max_size=4))
    | st.tuples(st.just("delete_where"), st.sampled_from([filter for filter in FILTERS if filter]))
    | st.tuples(st.just("finish_loading"), st.none()),
    max_size=5,
)
queries = st.tuples(vectors, st.sampled_from([1, 2, 3, 5, 10_000]), filters, st.booleans())


class PassageOracle(Oracle):
    """As its parent, a document's score being that of its best passage."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[Key, Entry] = {}

    def upsert(self, entries: Sequence[Sequence[Any]], tenant: str | None = None) -> None:
        super().upsert(entries, tenant)
        self.entries.update({(tenant, entry[0]): entry for entry in entries if isinstance(entry, Entry)})

    def passages(
        self, query: SparseVector, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[Key, float, int]]:
        """(key, score, number) of every passage that the query finds, best first."""
        found = [
            (key, dot(query, self.quantized(vector)), number)
            for key in self._passing(filter, tenant)
            for number, vector in enumerate(self.entries[key].vectors)
        ]
        return sorted([each for each in found if each[1] > 0], key=lambda each: (-each[1], each[0][1], each[2]))

    def best(
        self, query: SparseVector, top_k: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None, *, group: bool = True
    ) -> list[tuple[str, float, int]]:
        """The top_k documents with the number of their best passage, or the top_k passages."""
        found = self.passages(query, filter, tenant)
        if group:
            first: dict[Key, Any] = {}
            for key, score, number in found:
                first.setdefault(key, (key, score, number))
            found = list(first.values())
        return [(key[1], score, number) for key, score, number in found[:top_k]]

    def mean_of_best(
        self, query: SparseVector, top_k: int, few: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[str, float, int]]:
        """The same by the exact mean of the `few` best passages that the query finds."""
        scores: dict[Key, list[float]] = {}
        numbers: dict[Key, int] = {}
        for key, score, number in self.passages(query, filter, tenant):
            scores.setdefault(key, []).append(score)
            numbers.setdefault(key, number)
        found = [(key[1], float(mean(map(Fraction, each[:few]))), numbers[key]) for key, each in scores.items()]
        return sorted(found, key=lambda each: (-each[1], each[0]))[:top_k]

    def search(
        self, query: SparseVector, top_k: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[str, float]]:
        return [(doc_id, score) for doc_id, score, _ in self.best(query, top_k, filter, tenant)]


def agree(
    store: Store, oracle: PassageOracle, operations: Sequence[tuple[str, Any]], queries: Sequence[Any], tenant: str | None = None
) -> None:
    """Assert that the store holds and finds what the oracle does, after every operation done on both."""
    perform(store, oracle, operations, tenant)
    check_contents(store, oracle, tenant)
    for vector, top_k, filter, group in queries:
        check_search(store, oracle, vector, top_k, filter, group, tenant)


def check_contents(store: Store, oracle: PassageOracle, tenant: str | None = None) -> None:
    held = {doc_id: oracle.entries[tenant, doc_id] for doc_id in oracle.of(tenant)}
    assert store.count() == oracle.count(None, tenant)
    assert store.get(IDS) == held
    if tenant is not None or len(oracle.contents) == len(held):
        assert {entry.doc_id: entry for entry in store.scan(page_size=3)} == held
        assert sorted(entry.doc_id for entry in store.scan(page_size=3, with_vectors=False)) == sorted(held)


def check_search(
    store: Store, oracle: PassageOracle, vector: SparseVector, top_k: int, filter: Any, group: bool, tenant: str | None = None
) -> None:
    _check_hits(store, oracle, oracle.best(vector, top_k, filter, tenant, group=group), tenant, vector, top_k, filter=filter, group=group)
    if group:
        _check_hits(store, oracle, oracle.mean_of_best(vector, top_k, 3, filter, tenant), tenant, vector, top_k, filter=filter, best=3)
    assert store.count(filter=filter) == oracle.count(filter, tenant)


def _check_hits(
    store: Store, oracle: PassageOracle, expected: list[tuple[str, float, int]], tenant: str | None, *search: Any, **arguments: Any
) -> None:
    hits = store.search(*search, **arguments)
    assert [(hit.doc_id, hit.score, hit.passage.number) for hit in hits] == expected
    bare = store.search(*search, **arguments, with_payload=False)
    assert [(hit.doc_id, hit.score, hit.passage.number, hit.payload) for hit in bare] == [(*each, {}) for each in expected]
    if tenant is not None or all(key[0] is None for key in oracle.contents):
        for hit in hits:
            check_passage(hit, oracle.entries[tenant, hit.doc_id])


def check_passage(hit: Hit, entry: Entry) -> None:
    number, text = hit.passage.number, entry.payload["text"]
    start, end = entry.spans[number] if entry.passages else (0, len(text))
    assert (hit.passage.start, hit.passage.end, hit.passage.text) == (start, end, text[start:end])
    assert hit.payload == entry.payload


def check_text_filter(store: Store, asked: Mapping[str, Any], tenant: str | None) -> None:
    """Assert that an empty store finds, counts and deletes what the oracle does by a filter on the text, and nothing else."""
    oracle, every = PassageOracle(), SparseVector(range(20), [1.0] * 20)
    long = document("a", [((n, n + 1), SparseVector([n], [n + 1.0])) for n in range(5)], {"group": 1})
    whole = document("b", [((0, 9), SparseVector([1], [1.0]))], {"group": 1})
    other = whole._replace(doc_id="c", payload={"group": 2, "text": "outro"})
    entries = [long, whole, other, long._replace(doc_id="d", payload={"group": 2, "text": LETTERS})]
    store.upsert_vectors(entries)
    oracle.upsert(entries, tenant)
    expected = {doc_id for doc_id, _ in oracle.search(every, 10, asked, tenant)}
    for group in (True, False):
        assert {hit.doc_id for hit in store.search(every, 99, filter=asked, group=group)} == expected
    assert store.count(filter=asked) == store.delete_where(asked) == oracle.delete_where(asked, tenant) == len(expected)
    check_contents(store, oracle, tenant)
    for top_k in (1, 99):
        check_search(store, oracle, every, top_k, None, False, tenant)
