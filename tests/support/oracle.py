"""An exact store in plain Python: what every engine has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from splade_ptbr_connectors.filters import AnyOf, Condition, Range, parse_filter
from splade_ptbr_connectors.vectors import SparseVector

Document = tuple[SparseVector, Mapping[str, Any]]


class Oracle:
    """Documents in a dict, scores by dot products over dicts, filters by plain comparisons."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}

    def upsert(self, entries: list[tuple[str, SparseVector, Mapping[str, Any]]]) -> None:
        self.documents.update({doc_id: (vector, payload) for doc_id, vector, payload in entries})

    def delete(self, doc_ids: list[str]) -> int:
        return sum(self.documents.pop(doc_id, None) is not None for doc_id in doc_ids)

    def search(self, query: SparseVector, top_k: int, filter: Mapping[str, Any] | None = None) -> list[tuple[str, float]]:
        conditions = parse_filter(filter or {})
        scores = {
            doc_id: dot(query, vector)
            for doc_id, (vector, payload) in self.documents.items()
            if all(_holds(condition, payload) for condition in conditions)
        }
        ranked = sorted(((-score, doc_id) for doc_id, score in scores.items() if score > 0))
        return [(doc_id, -score) for score, doc_id in ranked[:top_k]]


def dot(query: SparseVector, document: SparseVector) -> float:
    weights = document.to_dict()
    return sum(weight * weights.get(term, 0.0) for term, weight in query.to_dict().items())


def _holds(condition: Condition, payload: Mapping[str, Any]) -> bool:
    values = _values_at(payload, condition.field.split("."))
    if isinstance(condition, AnyOf):
        return any(_same(value, wanted) for value in values for wanted in condition.values) != condition.negated
    return any(_within(condition, value) for value in values)


def _values_at(payload: Any, path: list[str]) -> list[Any]:
    for part in path:
        if not isinstance(payload, Mapping) or part not in payload:
            return []
        payload = payload[part]
    return payload if isinstance(payload, list) else [payload]


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and value == wanted


def _within(range: Range, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    checks: list[tuple[float | None, Callable[[float], bool]]] = [
        (range.gt, lambda bound: value > bound),
        (range.gte, lambda bound: value >= bound),
        (range.lt, lambda bound: value < bound),
        (range.lte, lambda bound: value <= bound),
    ]
    return all(bound is None or holds(bound) for bound, holds in checks)
