"""What the retrievers of every framework share: hits as text and metadata, filters combined.

No ranking happens here: a retriever returns what its store returns, in the same order and with the same scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .encoding.explain import Explanation, explain
from .errors import ConfigError
from .filters import parse_filter
from .vectors import SparseVector

if TYPE_CHECKING:
    from .stores.base import Hit, Store


def combine_filters(fixed: Any | None, narrowing: Any | None) -> Any | None:
    """A filter that requires both: the filter of one call can narrow a retriever's own, never widen it.

    Args:
        fixed: None, a filter mapping, conditions, or an engine's own filter object (which cannot be combined).
        narrowing: the same.
    """
    if not fixed or not narrowing:
        return fixed or narrowing or None
    return _conditions(fixed) + _conditions(narrowing)


def _conditions(filter: Any) -> tuple[Any, ...]:
    if isinstance(filter, tuple):
        return filter
    if not isinstance(filter, Mapping):
        raise ConfigError(f"a {type(filter).__name__} cannot be combined with the retriever's own filter: use filter mappings for both.")
    return parse_filter(filter)


def content_and_metadata(hit: Hit, content_key: str) -> tuple[str, dict[str, Any]]:
    """Split a payload into the text and everything else, the nested "metadata" mapping merged in flat.

    A field beside "metadata" hides one of the same name inside it, unless it is blank. A payload without any fields
    (vectors loaded without one) has blank content.

    Raises:
        ConfigError: the payload has fields, but not this one.
    """
    payload = dict(hit.payload)
    if payload and content_key not in payload:
        raise ConfigError(f"document {hit.doc_id!r} has no {content_key!r} field: set content_key to one of {', '.join(payload)}.")
    content = payload.pop(content_key, "")
    nested = payload.get("metadata")
    metadata = dict(payload.pop("metadata")) if isinstance(nested, Mapping) else {}
    metadata.update({name: value for name, value in payload.items() if value != "" or name not in metadata})
    return str(content), metadata


def explain_hits(store: Store, query: SparseVector, doc_ids: Sequence[str]) -> dict[str, Explanation]:
    """For each of these documents, the terms it shares with the query, largest contribution first.

    The stored vectors are compared, so the contributions add up to a hit's score within the engine's precision.
    """
    return {doc_id: explain(query, entry.vector, store.encoder.token) for doc_id, entry in store.get(doc_ids).items()}
