"""Reading: a sparse query in each of the forms that OpenSearch knows, restricted by a filter, and what the answers mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...batches import batched
from ...errors import ConfigError, StoreCorruptError, StoreError, StoreFormatError, StoreUnavailableError
from ...filters import Condition, Exists, Period, leaves
from ...vectors import SparseVector
from ..base import MAX_TOP_K, EngineFilter, Entry, Hit, ParsedFilter
from ..calls import Operation
from ..passages import SOMEWHERE, FetchPoints, Head, Point, asks_for_text, head_of, tail_points, with_passages
from ..payloads import PASSAGES_FIELD
from .client import DEFAULT_MAX_CLAUSES, Capabilities, ask, detect
from .failures import NODES_ARE_DOWN, check_none_failed, check_whole, describe
from .filters import Clauses, clause_count, restrict_to_tenant
from .schema import Schema
from .settings import OpenSearchSettings
from .wire import (
    FACET_SCHEME,
    HEAD,
    PASSAGE,
    PASSAGES,
    SPARSE,
    TENANT,
    FeatureLayout,
    PassageName,
    checked_doc_id,
    document_key,
    to_entry,
    to_vector,
)

logger = logging.getLogger(__name__)
MAX_TOKEN_WEIGHT = 64.0  # of a neural_sparse query
ORDER = [{"_score": "desc"}, {"doc_id": "asc"}]
SCAN_KEEP_ALIVE = "10m"
SCAN_ORDER = [{"doc_id": "asc"}, {"tenant": {"order": "asc", "missing": "_first"}}]
IDS_ONLY = ["doc_id", "hash"]
WHOLE = ["doc_id", "hash", "sparse", "payload", "tenant", PASSAGES]
PASSAGE_ORDER = [*ORDER, {PASSAGE: {"order": "asc", "missing": "_first"}}]
MAX_PAGE = MAX_TOP_K  # index.max_result_window
NO_PARTS = {"allow_partial_search_results": "false"}
SNAPSHOT = {"keep_alive": SCAN_KEEP_ALIVE, "allow_partial_pit_creation": "false"}

# -- bodies ----------------------------------------------------------------------------------------------------------


def boosts(query: SparseVector) -> list[float]:
    """The weights, each with no more digits than tell a float32 from its neighbours."""
    return [float(f"{weight:.9g}") for weight in query.weights.tolist()]


def rank_feature(query: SparseVector, clauses: Clauses, layout: FeatureLayout) -> dict[str, Any]:
    """A dot product as a disjunction of linear rank_feature queries; a document has to match one of them."""
    paths = map(layout.path, query.term_ids.tolist())
    should = [{"rank_feature": {"field": path, "linear": {}, "boost": boost}} for path, boost in zip(paths, boosts(query), strict=True)]
    return {"bool": {"should": should, "minimum_should_match": 1, **clauses}}


def neural_sparse(query: SparseVector, clauses: Clauses, method_parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same, built by the neural-search plugin.

    Raises:
        ConfigError: a weight that it does not take.
    """
    if len(query) and query.weights.max() > MAX_TOKEN_WEIGHT:
        raise ConfigError(
            f"the query has a weight of {query.weights.max():g}, neural_sparse takes up to {MAX_TOKEN_WEIGHT:g}: scale it down, or set "
            "query=rank_feature."
        )
    tokens: dict[str, Any] = {"query_tokens": dict(zip(map(str, query.term_ids.tolist()), boosts(query), strict=True))}
    if method_parameters:
        tokens["method_parameters"] = dict(method_parameters)
    return {"bool": {"must": [{"neural_sparse": {SPARSE: tokens}}], **clauses}}


def sparse_vector(query: SparseVector, clauses: Clauses, top_k: int, heap_factor: float) -> dict[str, Any]:
    """An approximate search over all terms of the query, for as many hits as are wanted.

    With a filter it is exact: the approximate search would filter what it found, and come back with too few.
    """
    approximate = {"top_n": len(query), "k": top_k, "heap_factor": heap_factor}
    return neural_sparse(query, clauses, None if clauses else approximate)


def search_body(query: Mapping[str, Any], top_k: int, with_payload: bool, order: Sequence[Any] = ORDER) -> dict[str, Any]:
    """The body of a search: by score, ties by document id, counting nothing beyond the hits.

    Document ids come with the order. Without payloads no document is read at all, of which the vector is the longest part.
    """
    returned: dict[str, Any] = {"_source": ["payload"]} if with_payload else {"_source": False, "stored_fields": "_none_"}
    return {"query": query, "size": top_k, "sort": order, "track_total_hits": False, **returned}


def all_of(clauses: Clauses) -> dict[str, Any]:
    """A query for all documents that the clauses let pass."""
    return {"bool": dict(clauses)} if clauses else {"match_all": {}}


# -- answers ---------------------------------------------------------------------------------------------------------


def hits(answer: Mapping[str, Any], url: str) -> list[Hit]:
    """The hits of a search. A score of zero is not a hit: the products were too small for a float32.

    Raises:
        StoreFormatError: a document without an id.
    """
    rows = answer["hits"]["hits"]
    scores = np.array([row["_score"] for row in rows], np.float32).tolist()  # JSON holds the shortest text of a float32
    found = [(row, score) for row, score in zip(rows, scores, strict=True) if score > 0]
    return [_hit(row, score, url) for row, score in found]


def _hit(row: Mapping[str, Any], score: float, url: str) -> Hit:
    _, doc_id, *names = row["sort"]
    place = SOMEWHERE if names and names[0] is not None else None
    return Hit(checked_doc_id(doc_id, url), score, row.get("_source", {}).get("payload") or {}, place)


def found_points(rows: Sequence[Mapping[str, Any]], tenant: str | None, url: str) -> list[Point]:
    """The passages of a search in PASSAGE_ORDER. Raises StoreFormatError."""
    scores = np.array([row["_score"] for row in rows], np.float32).tolist()
    return [_point(row, score, tenant, url) for row, score in zip(rows, scores, strict=True) if score > 0]


def _point(row: Mapping[str, Any], score: float, tenant: str | None, url: str) -> Point:
    _, found, name = row["sort"]
    doc_id = checked_doc_id(found, url)
    if name is None:
        return Point(document_key(doc_id, tenant or next(iter(row.get("fields", {}).get(TENANT, [])), None)), doc_id, score)
    passage = PassageName.read(name)
    return Point(passage.head, doc_id, score, passage.number, passage.version)


# -- operations ------------------------------------------------------------------------------------------------------


class Queries(Schema):
    """The operations that read.

    Attributes:
        pruned: how many queries had more terms than the server takes.
        loads: how many bulk loads are under way.
        unseen: something was written that a search does not see yet.
    """

    def __init__(self, url: str, collection: str, settings: OpenSearchSettings, tenant: str | None = None) -> None:
        super().__init__(url, collection, settings, tenant)
        self.pruned = self.loads = 0
        self.unseen = False
        self._server: Capabilities | None = None

    def search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> Operation[list[Hit]]:
        clauses = self.passing(filter)
        yield from self.see_own_writes()
        order = PASSAGE_ORDER if self.keeps_passages else ORDER
        body = search_body((yield from self.query(query, top_k, clauses)), top_k, with_payload, order)
        return hits((yield from self.asked(body)), self.url)

    def points(self, query: SparseVector, filter: ParsedFilter) -> FetchPoints:
        clauses = self.passing(filter)
        return lambda count: self._points(query, clauses, count)

    def _points(self, query: SparseVector, clauses: Clauses, count: int) -> Operation[list[Point]]:
        """The first `count`, in pages of as many as the server takes at once."""
        yield from self.see_own_writes()
        body = search_body((yield from self.query(query, count, clauses)), min(count, MAX_PAGE), False, PASSAGE_ORDER)
        if self.tenant is None:
            body["docvalue_fields"] = [TENANT]  # whose a document is: its _id tells too, but lies in one block with the vector
        rows = list[Mapping[str, Any]]()
        while True:
            page = (yield from self.asked(body))["hits"]["hits"]
            rows += page
            if len(page) < body["size"] or len(rows) >= count:
                return found_points(rows[:count], self.tenant, self.url)
            body = {**body, "search_after": page[-1]["sort"], "size": min(count - len(rows), MAX_PAGE)}

    def asked(self, body: Mapping[str, Any]) -> Operation[Any]:
        """The answer to a search of the index."""
        return (yield from self.whole(lambda client: client.search(index=self.target, body=body, params=NO_PARTS)))

    def whole(self, make: Callable[[Any], Any], *, retry: bool = True) -> Operation[Any]:
        """The answer to a call in which every shard takes part, if necessary at the next attempt."""
        return (yield from ask(make, lambda answer: check_whole(answer, self.url), retry=retry))

    def heads(self, keys: list[Any], whole: bool) -> Operation[dict[Any, Head]]:
        sources = yield from self.sources_of(keys, ["payload", PASSAGES, TENANT] if whole else [PASSAGES, TENANT])
        return {key: head_of({PASSAGES_FIELD: source.get(PASSAGES)}, source.get("payload") or {}) for key, source in sources.items()}

    def query(self, query: SparseVector, top_k: int, clauses: Clauses) -> Operation[dict[str, Any]]:
        """The query in the form that the field and the server know, cut to the number of clauses that the server takes."""
        query = yield from self._within_limit(query, clause_count(clauses))
        if self.index.field_type == "sparse_vector":
            return sparse_vector(query, clauses, top_k, self.settings.heap_factor)
        form: str = self.settings.query
        if form == "auto":
            form = self.form((yield from self.server()))
            if query.weights.max() > MAX_TOKEN_WEIGHT:
                form = "rank_feature"  # the same scores, written out
        return rank_feature(query, clauses, self.index.layout) if form == "rank_feature" else neural_sparse(query, clauses)

    def form(self, server: Capabilities) -> str:
        """Which form of query this server gets."""
        if self.index.field_type == "sparse_vector":
            return "neural_sparse"
        if self.settings.query != "auto":
            return self.settings.query
        return "neural_sparse" if server.neural_sparse and not self.index.layout.terms_per_field else "rank_feature"

    def server(self) -> Operation[Capabilities]:
        """What the server is and has, asked once."""
        if self._server is None:
            self._server = yield from detect()
        return self._server

    def _within_limit(self, query: SparseVector, taken: int) -> Operation[SparseVector]:
        if len(query) + taken <= DEFAULT_MAX_CLAUSES // 2:  # no server is set to so few
            return query
        server = yield from self.server()
        room = server.max_clauses - taken
        if room < 1:
            raise ConfigError(
                f"the filter has {taken:,} conditions, {self.url} takes {server.max_clauses:,} together with the terms of the query: "
                "compare a field with a list of values instead of each by itself, or raise indices.query.bool.max_clause_count there."
            )
        if len(query) <= room:
            return query
        self.pruned += 1
        logger.warning("%s: a query of %d terms was cut to the %d largest weights, the server takes no more", self.url, len(query), room)
        return query.prune(max_terms=room)

    def get(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        sources = yield from self.sources(doc_ids, WHOLE)
        entries = yield from self.whole_entries(list(sources.values()))
        return {entry.doc_id: entry for entry in entries}

    def whole_entries(self, heads: Sequence[Mapping[str, Any]]) -> Operation[list[Entry]]:
        """The documents of these heads with all of their passages; without one that is replaced or deleted meanwhile.

        Raises:
            StoreCorruptError: passages are missing of one that is not.
        """
        entries = [to_entry(source, self.url) for source in heads]
        tails = [tail_points(source["doc_id"], source.get(PASSAGES), source.get(TENANT)) for source in heads]
        if not any(tails):
            return entries
        found = yield from self.sources_of([key for keys in tails for key in keys], [SPARSE, TENANT])
        whole = list[Entry]()
        for source, entry, keys in zip(heads, entries, tails, strict=True):
            if all(key in found for key in keys):
                vectors = [entry.vector, *[to_vector(found[key].get(SPARSE) or {}) for key in keys]]
                whole.append(with_passages(entry, {PASSAGES_FIELD: source.get(PASSAGES)}, vectors))
            else:
                yield from self._check_replaced(source)
        return whole

    def _check_replaced(self, source: Mapping[str, Any]) -> Operation[None]:
        key = document_key(source["doc_id"], source.get(TENANT))
        there = (yield from self.sources_of([key], [PASSAGES, TENANT])).get(key)
        if there is not None and there.get(PASSAGES) == source.get(PASSAGES):
            raise StoreCorruptError(f"{self.url} lacks passages of {source['doc_id']!r}: delete the document, and ingest it again.")

    def content_hashes(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        sources = yield from self.sources(doc_ids, [*IDS_ONLY, "tenant"])
        return {doc_id: source["hash"] for doc_id, source in sources.items() if source.get("hash") is not None}

    def sources(self, doc_ids: Sequence[str], fields: list[str]) -> Operation[dict[str, Mapping[str, Any]]]:
        """What is stored under these ids, and is this tenant's own."""
        keys = {document_key(doc_id, self.tenant): doc_id for doc_id in doc_ids}
        found = yield from self.sources_of(list(keys), fields)
        return {keys[key]: source for key, source in found.items() if source.get("tenant") == self.tenant}

    def sources_of(self, keys: Sequence[str], fields: list[str]) -> Operation[dict[str, Mapping[str, Any]]]:
        """What is stored under these keys, and may be seen by this tenant."""
        sources: dict[str, Mapping[str, Any]] = {}
        for some in batched(keys, MAX_PAGE):
            body = {"docs": [{"_id": key, "_source": fields} for key in some]}
            docs = yield from ask(lambda client, body=body: client.mget(index=self.target, body=body), self._checked)  # type: ignore[misc]
            for doc in docs:
                if doc.get("found") and self.tenant in (None, doc["_source"].get("tenant")):
                    sources[doc["_id"]] = doc["_source"]
        return sources

    def _checked(self, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The documents of an answer to a request for several, each found or known not to be there."""
        docs: list[Mapping[str, Any]] = answer["docs"]
        error = next((doc["error"] for doc in docs if "error" in doc), None)
        if error is None:
            return docs
        if error.get("type") == "index_not_found_exception":
            raise self.deleted_meanwhile()
        raise StoreUnavailableError(f"{self.url} could not look for a document ({describe(error)}): {NODES_ARE_DOWN}.")

    def restricted(self, filter: ParsedFilter) -> Clauses:
        """The clauses of a filter and of the tenant. Raises StoreFormatError for what an index of an earlier version cannot be asked."""
        if self.index.facet_scheme != FACET_SCHEME and not isinstance(filter, EngineFilter):
            field = next((leaf.field for leaf in leaves(filter) if isinstance(leaf, Period | Exists)), None)
            if field is not None:
                raise StoreFormatError(
                    f"filter on {field!r} asks for dates, or whether the field exists: the index {self.collection!r} was filled by an "
                    "earlier version, which kept neither; ingest into a new index, or copy this one with reindex."
                )
        return restrict_to_tenant(filter, self.tenant)

    def passing(self, filter: ParsedFilter) -> Clauses:
        """The clauses of a filter, of passages that a search may find."""
        return self.documents(filter) if asks_for_text(filter) else self.restricted(filter)

    def documents(self, filter: ParsedFilter, *, negated: bool = False) -> Clauses:
        """The clauses of a filter that lets documents pass, and not their further passages; or these only."""
        clauses = self.restricted(filter)
        if not self.keeps_passages:
            return clauses
        name = "filter" if negated else "must_not"
        return {**clauses, name: [*clauses.get(name, []), {"exists": {"field": HEAD}}]}

    def count(self, filter: ParsedFilter) -> Operation[int]:
        body = {"query": all_of(self.documents(filter))}
        yield from self.see_own_writes()
        return int((yield from self.whole(lambda client: client.count(index=self.target, body=body)))["count"])

    def has_any(self, asked: Condition) -> Operation[bool | None]:
        """Looks into the index, which takes no longer with more documents; an index of an earlier version does not know."""
        if self.index.facet_scheme != FACET_SCHEME or (yield from self._holds_any((asked,))):
            return True
        return False if (yield from self._holds_any(())) else None

    def _holds_any(self, filter: ParsedFilter) -> Operation[bool]:
        body, params = {"query": all_of(self.documents(filter))}, {"terminate_after": 1}
        answer = yield from self.whole(lambda client: client.count(index=self.target, body=body, params=params), retry=False)
        return bool(answer["count"])

    def sample(self, size: int) -> Operation[list[Entry]]:
        yield from self.see_own_writes()
        body = {"query": all_of(self.documents(())), "size": size, "_source": WHOLE}
        return [to_entry(hit["_source"], self.url) for hit in (yield from self.asked(body))["hits"]["hits"]]

    def scan_page(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        if cursor is None:
            yield from self.see_own_writes()
            opened = yield from self.whole(lambda client: client.create_pit(index=self.target, params=SNAPSHOT))
            cursor = (opened["pit_id"], None)
        snapshot, after = cursor
        body = {
            "query": all_of(self.documents(())),
            "size": size,
            "sort": SCAN_ORDER,
            "track_total_hits": False,
            "_source": WHOLE if with_vectors else IDS_ONLY,
            "pit": {"id": snapshot, "keep_alive": SCAN_KEEP_ALIVE},
            **({"search_after": after} if after is not None else {}),
        }
        answer = yield from self.whole(lambda client: client.search(body=body, params=NO_PARTS))
        found = answer["hits"]["hits"]
        sources = [hit["_source"] for hit in found]
        entries = (yield from self.whole_entries(sources)) if with_vectors else [to_entry(source, self.url) for source in sources]
        snapshot = answer.get("pit_id", snapshot)
        if len(found) == size:
            return entries, (snapshot, found[-1]["sort"])
        yield from ask(lambda client: client.delete_pit(body={"pit_id": [snapshot]}))
        return entries, None

    def see_own_writes(self) -> Operation[None]:
        """Refresh the index if this store has written since, so that what it wrote is found."""
        if self.unseen and self.settings.read_own_writes and not self.loads:
            yield from self.refresh()

    def refresh(self, *, retry: bool = True, **params: Any) -> Operation[None]:
        """Let searches see what was written."""
        self.unseen = False  # first: what is written meanwhile may not be seen
        try:
            yield from ask(
                lambda client: client.indices.refresh(index=self.target, params=params),
                lambda answer: check_none_failed(answer, self.url),  # copies that do not run are counted, and need no refresh
                retry=retry,
            )
        except StoreError:
            self.unseen = True
            raise

    def info(self) -> Operation[dict[str, Any]]:
        server, index = (yield from self.server()), (yield from self.read())
        return {
            "index": index.name,
            "aliases": list(index.aliases),
            "distribution": server.distribution,
            "version": server.version,
            "plugins": list(server.plugins),
            "max_clauses": server.max_clauses,
            "neural_sparse": server.neural_sparse,
            "sparse_vector": server.sparse_vector,
            "field_type": index.field_type,
            "terms_per_field": index.layout.terms_per_field,
            "query": self.form(server),
            "shards": int(index.settings.get("index.number_of_shards", 0)),
            "replicas": int(index.settings.get("index.number_of_replicas", 0)),
            "interrupted_load": index.saved_settings is not None and not self.loads,
        }
