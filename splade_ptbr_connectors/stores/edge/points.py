"""Points of the engine: asked for, made of documents, and read as hits and documents, each checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import qdrant_edge as edge

from ...batches import batched
from ...vectors import SparseVector
from ..base import Entry, Hit
from ..passages import Found, is_stale, place_of, point_of, rank, tail_points
from ..payloads import CHECK_FIELD, HASH_FIELD, ID_FIELD, NUMBER_PATH, PASSAGE_FIELD, PASSAGES_FIELD, TENANT_FIELD, from_stored
from .checks import Checks, checked_names, checked_payload, checked_vector, checks_of, hex_id
from .contents import PAGE, count, every_record
from .settings import DENSE, VECTOR

NAMES = [ID_FIELD, HASH_FIELD, TENANT_FIELD, PASSAGE_FIELD, PASSAGES_FIELD]
ONLY_NAMES, WITH_CHECKS = edge.PayloadSelector.Include(NAMES), edge.PayloadSelector.Include([*NAMES, CHECK_FIELD])
ONLY_OWNERS = edge.PayloadSelector.Include([ID_FIELD, TENANT_FIELD])
_MOST_READ, _FEW = 1.6, 50  # with_ties() reads payloads of up to so many points by each that is shown, and so many more


class NewPoint(NamedTuple):
    id: str
    vectors: dict[str, Any]
    payload: dict[str, Any]


def query(shard: Any, request: Mapping[str, Any], limit: int, payload: Any, threshold: float | None = None) -> list[Any]:
    asked = edge.QueryRequest(limit, **request, score_threshold=threshold, with_payload=payload, with_vector=False)
    return [point for point in shard.query(asked) if point.score > 0]


def with_ties(shard: Any, request: Mapping[str, Any], shown: int, limit: int) -> list[Found]:
    """The first points and all that tie with the last of them; owners() reads the rest about those that are shown.

    Reading payloads is what takes the time: here, with the points, half as long for each as later, by their ids.
    """
    points = query(shard, request, limit + 1, ONLY_OWNERS if limit <= _MOST_READ * shown + _FEW else False)
    if len(points) > limit and points[limit].score == points[limit - 1].score:
        below = float(np.nextafter(np.float32(points[limit].score), np.float32(0)))
        points = query(shard, request, count(shard), False, below)
    return [(point.id.int, point.score, point) for point in points]


def owners(shard: Any, found: Sequence[Found]) -> list[Mapping[str, Any]]:
    """Document id and tenant of each of these points, which are of one search, as they are stored."""
    if not found or found[0][2].payload:
        return [point.payload for *_, point in found]
    stored = {record.id: record.payload for record in shard.retrieve([point.id for *_, point in found], ONLY_OWNERS, False)}
    return [stored[point.id] for *_, point in found]


def with_all_ties(shard: Any, request: Mapping[str, Any], score: float, top_k: int, payload: Any) -> list[Any]:
    """The top_k points, those tied with the last one chosen by document id: the engine cuts a tie as it likes."""
    below = float(np.nextafter(np.float32(score), np.float32(0)))  # the engine's threshold is exclusive
    points = query(shard, request, count(shard), ONLY_NAMES, below)
    best = sorted(points, key=point_rank)[:top_k]
    payloads = {record.id: record.payload for record in shard.retrieve([point.id for point in best], payload, False)}
    return [_Point(point.id, point.score, payloads[point.id]) for point in best]


class _Point(NamedTuple):
    id: Any
    score: float
    payload: dict[str, Any]


def to_hit(point: Any, stored: dict[str, Any]) -> Hit:
    place = place_of(stored)
    doc_id, payload, _ = from_stored(stored)
    return Hit(doc_id, float(point.score), payload, place)


def point_rank(point: Any) -> tuple[float, str, int]:
    return rank(point_of("", point.payload[ID_FIELD], point.score, point.payload))


def hit_rank(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.doc_id


def to_entry(record: Any, url: str) -> Entry:
    vectors = record.vector or {}
    vector = checked_vector(record, VECTOR, url)
    doc_id, payload, content_hash = from_stored(checked_payload(record, url, vector))
    return Entry(doc_id, vector, payload, content_hash, tuple(vectors[DENSE]) if DENSE in vectors else None)


def to_name(record: Any, url: str) -> Entry:
    """Id and content hash only."""
    doc_id, _, content_hash = from_stored(checked_names(record, url))
    return Entry(doc_id, SparseVector([], []), {}, content_hash)


def to_edge_vector(vector: SparseVector) -> Any:
    return edge.SparseVector(vector.term_ids.tolist(), vector.weights.tolist())


def tails_of(head: Any) -> list[str]:
    """The point ids of the further passages of a document; of its head at least the names were read."""
    stored = head.payload or {}
    doc_id, passages = stored.get(ID_FIELD), stored.get(PASSAGES_FIELD)
    return tail_points(doc_id, passages, stored.get(TENANT_FIELD)) if isinstance(doc_id, str) and passages else []


def tail_records(shard: Any, heads: Sequence[Any]) -> dict[str, Any]:
    """The further passages of these documents as they are read; what is wrong with them is looked at when the shard is free again."""
    tails = [point for head in heads for point in tails_of(head)]
    return {hex_id(record.id): record for record in shard.retrieve(tails, True, True)} if tails else {}


def stale_tails(shard: Any) -> Iterator[Checks]:
    """The further passages that count no more, some at a time; they may be deleted meanwhile."""
    tails = edge.Filter(must_not=[edge.IsEmptyCondition(NUMBER_PATH)])
    for batch in batched(every_record(shard, WITH_CHECKS, filter=tails), PAGE):
        owners = {record.payload[PASSAGE_FIELD]["head"]: None for record in batch}
        heads = {hex_id(head.id): head.payload for head in shard.retrieve(list(owners), ONLY_NAMES, False)}
        if stale := [record for record in batch if is_stale(record.payload[PASSAGE_FIELD], heads)]:
            yield checks_of(stale)


def bytes_of(entry: Entry) -> int:
    """About how many bytes an entry takes, without a dense vector."""
    size = 0
    for value in entry.payload.values():  # once per document loaded: a sum over a generator takes twice as long
        size += 4 * len(value) if isinstance(value, str) else 256
    for vector in entry.vectors if entry.passages else (entry.vector,):
        size += 8 * len(vector) + 1024
    return size


def bytes_used(folder: Path) -> int:
    # blocks, not sizes: the engine's files are sparse
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
