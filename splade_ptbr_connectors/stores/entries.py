"""What goes into a store and comes out of it, and the checks that are the same for every engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ConfigError, VectorError
from ..filters import Condition, parse_filter
from ..records import check_doc_id
from ..text import check_text
from ..validation import Positive, check
from ..vectors import SparseVector
from .payloads import check_filtered, check_payload

MAX_HASH = 1000  # characters of a content hash
MAX_TOP_K = 10_000  # OpenSearch's result window; the same everywhere
SCORE_TOLERANCE = 1e-4  # of a score, relative: engines add up in float32, in an order of their own


@dataclass(frozen=True, slots=True)
class EngineFilter:
    """A filter in an engine's own form, which only that engine can read: a `qdrant_client.models.Filter`, a NativeFilter of OpenSearch."""

    filter: object


ParsedFilter = tuple[Condition, ...] | EngineFilter  # no conditions: every document passes
Filter = Mapping[str, Any] | tuple[Condition, ...] | object  # as callers write it: see filters.py, or the engine's own


class Hit(NamedTuple):
    """One search result. `score` is the plain dot product as the engine computed it, never rescaled."""

    doc_id: str
    score: float
    payload: Mapping[str, Any]


class Entry(NamedTuple):
    """One document as a store keeps it. `content_hash` is None when it was written without one, `dense` without a dense vector."""

    doc_id: str
    vector: SparseVector
    payload: Mapping[str, Any] = {}
    content_hash: str | None = None
    dense: tuple[float, ...] | None = None


class CheckedEntry(Entry):
    """An entry whose payload is a checked copy already, such as one made of a Record: stores do not check and copy it again."""

    __slots__ = ()


class HybridSearch(NamedTuple):
    """A checked hybrid search: the arguments of Store.search_hybrid(), the filter parsed."""

    query: SparseVector
    dense: tuple[float, ...]
    top_k: int
    prefetch: int
    rrf_k: int
    filter: ParsedFilter


class Refusal(NamedTuple):
    """A document that the engine itself refused, and why; the others of its batch are stored."""

    doc_id: str
    reason: str


# -- checks ------------------------------------------------------------------------------------------------------------


def check_entry(entry: tuple[Any, ...], vocab_size: int) -> Entry:
    """The entry as the engines take it, its payload a copy of its own. Raises VectorError, RecordError or TextError."""
    if not isinstance(entry, (tuple, list)) or not 2 <= len(entry) <= 5:
        raise VectorError(f"expected (doc_id, SparseVector) or (doc_id, SparseVector, payload), got {entry!r:.80}.")
    checked = entry if isinstance(entry, Entry) else Entry(*entry)
    check_doc_id(checked.doc_id)
    if not isinstance(checked.vector, SparseVector):
        raise VectorError(f"the vector of {checked.doc_id!r} is {type(checked.vector).__name__}: it must be a SparseVector.")
    checked.vector.check_vocabulary(vocab_size)
    payload = checked.payload if isinstance(checked, CheckedEntry) else check_payload(checked.doc_id, checked.payload)
    if checked.content_hash is not None:
        check_text(checked.content_hash, f"the content hash of {checked.doc_id!r}", max_characters=MAX_HASH)
    dense = None if checked.dense is None else check_dense(checked.dense)
    return Entry(checked.doc_id, checked.vector, payload, checked.content_hash, dense)


def parsed(filter: Filter | None) -> ParsedFilter:
    """A filter as the engines take it. Raises ConfigError."""
    conditions = parse_filter(filter) if isinstance(filter, Mapping) else () if filter is None else filter
    if not isinstance(conditions, tuple):
        return EngineFilter(conditions)
    check_filtered(conditions)
    return conditions


def check_fusion(top_k: int, prefetch: int | None, rrf_k: int) -> tuple[int, int]:
    """Checked prefetch depth and ranking constant."""
    depth = max(100, 5 * top_k) if prefetch is None else check_top_k("prefetch", prefetch)
    check("rrf_k", rrf_k, Positive)
    return min(depth, MAX_TOP_K), rrf_k


def check_top_k(name: str, value: object) -> int:
    """Return `value` if a store can be asked for so many hits, else raise ConfigError; `name` is what the caller calls it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOP_K:
        raise ConfigError(f"{name} is {value!r}: it must be an integer from 1 to {MAX_TOP_K:,}.")
    return value


def check_doc_ids(doc_ids: object) -> Iterator[str]:
    """The ids, each checked as it is taken.

    Raises:
        ConfigError: at once, if it is no iterable of ids. One text is refused too: its letters may be the ids of other documents.
        RecordError, TextError: one that is not usable.
    """
    if isinstance(doc_ids, str | bytes) or not isinstance(doc_ids, Iterable):
        raise ConfigError(f"doc_ids is {doc_ids!r:.80}: it must be a list of document ids, such as ['1'].")
    return map(check_doc_id, doc_ids)


def check_dense(dense: object) -> tuple[float, ...]:
    """The numbers of a dense vector. Raises VectorError."""
    try:
        values = tuple(float(value) for value in dense)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise VectorError(f"a dense vector is {type(dense).__name__}: it must be a sequence of numbers.") from error
    if not values or not all(map(math.isfinite, values)):
        raise VectorError("a dense vector is empty or holds NaN or infinity: it must hold finite numbers.")
    return values
