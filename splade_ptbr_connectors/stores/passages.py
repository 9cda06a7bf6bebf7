"""Documents of several passages, over engines that know only points.

The first passage of a document is its *head*: the point that a document of one passage is, with the whole payload, the spans of all
passages and a version, which is that of the write. The others are *tails*: points of their own that hold what filters ask for and name
their head, version and number. A tail counts only while its version is its head's, so that writing the head replaces a whole document
in one step: tails of the new version are written before it, those of the old one deleted after it, and what a killed process leaves is
not seen.
"""

from __future__ import annotations

import bisect
import math
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..errors import StoreFormatError
from ..filters import field_path, leaves
from ..vectors import SparseVector
from .calls import Operation
from .dotted_names import spread
from .entries import EngineFilter, Entry, EntryPassage, Hit, HybridSearch, ParsedFilter, Place
from .payloads import ADDED_FIELD, ID_FIELD, PASSAGE_FIELD, PASSAGES_FIELD, TENANT_FIELD, point_id, to_stored

T = TypeVar("T")
LEFT_OVER_S = 3600  # a tail without its head is left alone for so long: another process may be about to write the head
SOMEWHERE = Place(0, ())
TEXT_FIELD = "text"  # of a payload: tails hold no copy of it
_VERSION, _NUMBER = 76, 44  # bits of a point id from which on they stand there; see tail_point()
_DOCUMENT = (1 << 128) - 1 - (0xF << _VERSION) - (0xFFFFFFFFFFFF << 12)


# -- what is written ---------------------------------------------------------------------------------------------------


class Tail(NamedTuple):
    """A passage from the second on, as it is written."""

    doc_id: str
    point: str
    vector: SparseVector
    stored: dict[str, Any]


def to_write(entries: Iterable[Entry]) -> list[Entry]:
    """Of several entries of one document the last, each of several passages with a version that no other write has.

    Equal contents do not have equal versions: a write that is late with deleting the tails it replaced must not meet those of another.
    """
    last = {entry.doc_id: entry for entry in entries}.values()
    return [entry._replace(version=secrets.token_hex(8)) if entry.passages else entry for entry in last]


def tail_point(doc_id: str, version: str, number: int, tenant: str | None) -> str:
    """The point id of a tail: a UUID of version 8, those of documents are of version 5, with 74 bits of its head's in their places."""
    head = point_id(doc_id, tenant)
    return f"{head[:12]}8{head[13:17]}{number:04x}{version[:8]}{head[29:]}"


def passage_number(point: int) -> int:
    """Of a point, by its id as a number."""
    return point >> _NUMBER & 0xFFFF if point >> _VERSION & 0xF == 8 else 0


def are_of_one_document(point: int, other: int) -> bool:
    """Whether these ids have in common what those of all passages of a document have."""
    return (point ^ other) & _DOCUMENT == 0


def tail_points(doc_id: str, passages: object, tenant: str | None) -> list[str]:
    """The point ids of all tails of a document, out of what its head has under PASSAGES_FIELD; none of a document of one passage."""
    if not isinstance(passages, Mapping):
        return []
    return [tail_point(doc_id, passages["version"], number, tenant) for number in range(1, len(passages["spans"]))]


def head_stored(entry: Entry, tenant: str | None) -> dict[str, Any]:
    """The payload of a document's only point, or of its head: the entry is one of to_write()."""
    stored = to_stored(entry.doc_id, entry.payload, entry.content_hash, tenant)
    if entry.passages:
        stored[PASSAGES_FIELD] = {"version": entry.version, "spans": [list(span) for span in entry.spans]}
    return stored


def tails(entry: Entry, head: Mapping[str, Any], head_point: str, tenant: str | None) -> list[Tail]:
    """The passages from the second on; `head` is what head_stored() gave."""
    if not entry.passages:
        return []
    version, written = head[PASSAGES_FIELD]["version"], int(time.time())
    common = facets_only(entry, tenant)
    found = []
    for passage in entry.passages[1:]:
        about = {"head": head_point, "number": passage.number, "version": version, "at": written}
        point = tail_point(entry.doc_id, version, passage.number, tenant)
        found.append(Tail(entry.doc_id, point, passage.vector, {**common, PASSAGE_FIELD: about}))
    return found


def facets_only(entry: Entry, tenant: str | None) -> dict[str, Any]:
    """What filters may ask of a passage: the document's payload without its text."""
    kept, _ = spread({name: value for name, value in entry.payload.items() if name != TEXT_FIELD}, entry.doc_id)
    stored = {**kept, ID_FIELD: entry.doc_id}
    if tenant is not None:
        stored[TENANT_FIELD] = tenant
    stored.pop(ADDED_FIELD, None)
    return stored


def place_of(stored: Mapping[str, Any]) -> Place | None:
    """Tells base.Store.search() that a hit is one of several passages; which one, best_documents() finds out."""
    return SOMEWHERE if PASSAGE_FIELD in stored or PASSAGES_FIELD in stored else None


def asks_for_text(filter: ParsedFilter) -> bool:
    """Whether tails, which hold no text, would answer the filter otherwise than their document: only heads are to be asked then."""
    return not isinstance(filter, EngineFilter) and any([field_path(condition.field)[0].name == TEXT_FIELD for condition in leaves(filter)])


# -- what is found -----------------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """A passage that a query found, by the key of its head. `version` None: of a document that is one passage."""

    key: Hashable
    doc_id: str
    score: float
    number: int = 0
    version: str | None = None


class Head(NamedTuple):
    """A document as its head says."""

    payload: Mapping[str, Any]
    version: str | None = None
    spans: Sequence[Sequence[int]] = ()


Heads = dict[Hashable, Head | None]  # None: there is no such document any more
FetchPoints = Callable[[int], Operation[list[Point]]]
FetchHeads = Callable[[list[Any], bool], Operation[Mapping[Any, Head]]]
Found = tuple[int, float, Any]  # id as a number, score, and the point as the engine gave it


def point_of(key: Hashable, doc_id: str, score: float, stored: Mapping[str, Any]) -> Point:
    """The point of a hit, of whose payload at least the store's own fields are there; `key` is its own id."""
    tail, head = stored.get(PASSAGE_FIELD), stored.get(PASSAGES_FIELD)
    if isinstance(tail, dict):
        return Point(tail["head"], doc_id, score, tail["number"], tail["version"])
    return Point(key, doc_id, score, 0, head["version"] if isinstance(head, dict) else None)


def head_of(stored: Mapping[str, Any], payload: Mapping[str, Any]) -> Head:
    """The head that was stored like this."""
    passages = stored.get(PASSAGES_FIELD)
    return Head(payload, passages["version"], passages["spans"]) if isinstance(passages, Mapping) else Head(payload)


def with_passages(entry: Entry, stored: Mapping[str, Any], vectors: Sequence[SparseVector]) -> Entry:
    """The entry with its passages, whose spans its head tells; of one of a single passage the entry itself."""
    passages = stored.get(PASSAGES_FIELD)
    if not isinstance(passages, Mapping):
        return entry
    numbered = enumerate(zip(passages["spans"], vectors, strict=True))
    return entry._replace(passages=tuple(EntryPassage(number, span[0], span[1], vector) for number, (span, vector) in numbered))


def is_stale(tail: Mapping[str, Any], heads: Mapping[Any, Mapping[str, Any]]) -> bool:
    """Whether a tail, by its PASSAGE_FIELD, counts no more; `heads` are the stored payloads that are there, by point id."""
    head = heads.get(tail["head"])
    return head is None or (head.get(PASSAGES_FIELD) or {}).get("version") != tail["version"]


class Spread:
    """How many points a search has to ask for to find so many documents, learned from the searches before. Changes nothing but time.

    A point too many costs little, one too few a second search: so it rises at once, by half at most, and falls slowly.
    """

    def __init__(self) -> None:
        self._points_each = 1.0

    def first(self, top_k: int) -> int:
        """How many points to ask for first."""
        return math.ceil(top_k * self._points_each + 2 * math.sqrt(top_k)) + 1

    def learn(self, top_k: int, used: int) -> None:
        """So many points were needed for so many documents."""
        needed, held = used / top_k, self._points_each
        self._points_each = max(1.0, held + (min(held, needed - held) / 2 if needed > held else (needed - held) / 20))


def deeper(wanted: int, documents: int, top_k: int) -> int:
    """How many points to ask for where so many had too few documents in them: what it takes if the next are like these, and some more."""
    return math.ceil(wanted * min(4.0, 1.25 * top_k / max(1, documents)))


def best_documents(
    points: FetchPoints, heads: FetchHeads, top_k: int, spread: Spread, *, with_payload: bool, group: bool
) -> Operation[list[Hit]]:
    """The hits of best_points()."""
    known: Heads = {}
    chosen = yield from best_points(points, heads, top_k, spread, known, with_payload=with_payload, group=group)
    return [hit_of(point, known.get(point.key), with_payload) for point in chosen]


def fused_documents(
    points: FetchPoints, nearest: FetchPoints, heads: FetchHeads, search: HybridSearch, spread: Spread
) -> Operation[list[Hit]]:
    """The top_k documents by the fusion of their best passages and of a dense search, which finds heads.

    Args:
        nearest: asks the engine for so many documents of the dense search, best first, ties in any order.
    """
    known: Heads = {}
    near = yield from nearest_documents(nearest, search.prefetch)
    found = list[Point]()
    if len(search.query):
        found = yield from best_points(points, heads, search.prefetch, spread, known, with_payload=False, group=True)
    best = {point.key: point for point in reversed([*found, *near])}
    scores = dict.fromkeys(best, 0.0)
    parts = search.fusion.parts([point.score for point in found], [point.score for point in near], search.prefetch)
    for point, part in zip([*found, *near], parts, strict=True):
        scores[point.key] += part
    fused = sorted([point._replace(score=scores[key]) for key, point in best.items()], key=rank)[: search.top_k]
    there = yield from heads([point.key for point in fused], True)
    return [hit_of(point, there[point.key], True) for point in fused if point.key in there and _lives(point, there[point.key])]


def nearest_documents(fetch: FetchPoints, count: int) -> Operation[list[Point]]:
    """The first `count` documents of a dense search, ties by document id: an engine cuts a tie as it likes, so all of it is asked for.

    Raises:
        StoreFormatError: a score that is no number.
    """
    wanted = count + 1
    found = yield from fetch(wanted)
    while len(found) == wanted and found[-1].score == found[count - 1].score:
        wanted *= 2
        found = yield from fetch(wanted)
    places = dict[float, int]()
    for place, point in enumerate(found):
        if not math.isfinite(point.score):
            raise StoreFormatError(
                f"the dense score of document {point.doc_id!r} is {point.score}: its dense vector is too long for float32, store it again, "
                "scaled to length 1."
            )
        places.setdefault(point.score, place)  # not the scores themselves: of distances the smallest is the best
    return sorted(found, key=lambda point: (places[point.score], point.doc_id))[:count]


def best_points(
    points: FetchPoints, heads: FetchHeads, top_k: int, spread: Spread, known: Heads, *, with_payload: bool, group: bool
) -> Operation[list[Point]]:
    """The top_k documents by their best passage, or with `group` False the top_k passages: exact, ties by document id, then by number.

    Points come best first, so that the first passage of a document is its best one; of too few distinct ones among them more are asked
    for, until there are enough or no more.

    Args:
        points: asks the engine for so many points, best first, ties by document id and number.
        heads: reads heads by their keys, with or without payloads.
        known: takes the heads that were read.
    """
    wanted = spread.first(top_k) if group else top_k
    while True:
        found = yield from points(wanted)
        chosen = yield from _chosen(found, known, heads, top_k, with_payload=with_payload, group=group)
        if len(chosen) == top_k or len(found) < wanted:
            if group and chosen:
                spread.learn(len(chosen), 1 + chosen[-1][0] if len(chosen) == top_k else len(found))
            return [point for _, point in chosen]
        wanted = deeper(wanted, len(chosen), top_k)


def _chosen(
    found: Sequence[Point], known: Heads, heads: FetchHeads, top_k: int, *, with_payload: bool, group: bool
) -> Operation[list[tuple[int, Point]]]:
    """The first top_k living documents or passages, each with its place among the points."""
    while True:
        chosen, unknown = _looked_through(found, known, top_k, with_payload=with_payload, group=group)
        if not unknown:
            return chosen
        there = yield from heads(unknown, with_payload)
        known.update({key: there.get(key) for key in unknown})


def _looked_through(
    found: Sequence[Point], known: Heads, top_k: int, *, with_payload: bool, group: bool
) -> tuple[list[tuple[int, Point]], list[Any]]:
    """Those that are chosen, and the keys of the heads that have to be read to be sure, or to be shown."""
    taken, chosen, unknown = set[Any](), list[tuple[int, Point]](), dict[Any, None]()
    for place, point in enumerate(found):
        name = point.key if group else (point.key, point.number)
        if name in taken:
            continue
        if point.key not in known and (with_payload or point.version is not None):
            unknown[point.key] = None
        elif point.key in known and not _lives(point, known[point.key]):
            continue
        taken.add(name)
        chosen.append((place, point))
        if len(chosen) == top_k:
            break
    return chosen, list(unknown)


def _lives(point: Point, head: Head | None) -> bool:
    return head is not None and head.version == point.version and point.number < max(1, len(head.spans))


def best_passages(search: Callable[[int], list[Found]], top_k: int, spread: Spread | None) -> list[Found]:
    """The points of the top_k documents, or without a spread of the top_k passages, and all that tie with the last of them, best first.

    By point ids alone, which say whose passages they are, and provided that no point is stale.

    Args:
        search: so many points, best first, and all that tie with the last of them.
    """
    wanted = top_k if spread is None else spread.first(top_k)
    while True:
        found = search(wanted)
        best = found if spread is None else _best_of_each(found)
        if len(best) >= top_k or len(found) < wanted:
            break
        wanted = deeper(wanted, len(best), top_k)
    if len(best) > top_k:
        least = best[top_k - 1][1]
        best = [point for point in best if point[1] >= least]
    if spread is not None and best:
        spread.learn(len(best), bisect.bisect_right(found, -best[-1][1], key=lambda point: -point[1]))
    return best


def _best_of_each(found: Sequence[Found]) -> list[Found]:
    """The point of each document that has the largest score, the first passage of several; in the same order, best first."""
    best = dict[int, Found]()
    for point in found:
        document = point[0] & _DOCUMENT
        held = best.setdefault(document, point)
        if held[1] == point[1] and passage_number(point[0]) < passage_number(held[0]):
            best[document] = point
    return list(best.values())


def places_without_spans(numbers: Iterable[int]) -> dict[int, Place]:
    """Of hits without payloads, of which the number of the passage is all that is known: one place for all that are alike."""
    return {number: Place(number, ()) for number in set(numbers)}


def hit_of(point: Point, head: Head | None, with_payload: bool = True) -> Hit:
    """The hit of a passage that counts; without its head one without payload."""
    if head is None:
        return Hit(point.doc_id, point.score, {})
    place = Place(point.number, head.spans if with_payload else ()) if head.spans else None
    return Hit(point.doc_id, point.score, head.payload if with_payload else {}, place)


def rank(point: Point) -> tuple[float, str, int]:
    """Sorts points as searches return them."""
    return -point.score, point.doc_id, point.number


def immediate(operation: Operation[T]) -> T:
    """The result of an operation that makes no calls."""
    try:
        next(operation)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("an operation of an embedded store made a call of a client")


def fetched(result: T) -> Operation[T]:
    """What is there already, as an operation."""
    return result
    yield
