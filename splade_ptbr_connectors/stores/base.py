"""Store: what every engine offers, and the checks that are the same for all of them.

A store adapter implements the methods named with an underscore; the public ones validate first, so that no engine
ever sees a bad vector, id, filter or top_k. Each adapter adds the store's tenant to every filter and key itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..batches import batched
from ..errors import ConfigError, StoreError, StoreRefusedError
from ..records import check_doc_id
from ..splitting import Splitter
from ..validation import Positive, check
from ..vectors import SparseVector
from .calls import drive, drive_async
from .engine_methods import Ask, Asking
from .entries import (
    MAX_TOP_K,
    SCORE_TOLERANCE,
    CheckedEntry,
    EngineFilter,
    Entry,
    EntryPassage,
    Filter,
    Hit,
    HybridSearch,
    ParsedFilter,
    Place,
    Refusal,
    Search,
    check_doc_ids,
    check_entry,
    check_top_k,
    parsed,
    parsed_to_delete,
)
from .field_names import FieldNames
from .handle import Handle
from .mean_of_best import by_mean_of_best
from .passages import Spread
from .search import at_least, checked_hybrid, checked_search

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .model_stamp import StoreDescription

__all__ = [
    "MAX_TOP_K",
    "SCORE_TOLERANCE",
    "CheckedEntry",
    "EngineFilter",
    "Entry",
    "EntryPassage",
    "Filter",
    "Hit",
    "HybridSearch",
    "ParsedFilter",
    "Place",
    "Refusal",
    "Store",
    "check_is_store",
    "check_top_k",
]


class Store(Handle):
    """A collection of sparse vectors in one engine, bound to the encoder that made them.

    Attributes:
        encoder: turns texts into vectors; its fingerprint is the one the store was filled with.
        url: what open_store() was given, without secrets.
        max_batch_documents: entries sent to the engine at once.
        tenant: whose documents these are; every read and write is restricted to them. None: a collection without tenants.
        max_in_flight: how many loads may run at once.
    """

    engine: ClassVar[str]
    max_in_flight: int = 1
    _description: StoreDescription | None = None  # what the engine keeps beside the vectors

    def __init__(self, url: str, encoder: Encoder, *, max_batch_documents: int = 256, tenant: str | None = None) -> None:
        self.url = url
        self.encoder = encoder
        self.max_batch_documents = max_batch_documents
        self.tenant = tenant
        self._spread = Spread()
        self._field_names = FieldNames(url)
        self._met_passages = False  # set by the first hit that is one of several passages

    @property
    def identity(self) -> str:
        """Names this very collection, for checkpoints: a store deleted and made anew under the same URL is another one."""
        return self.url

    @property
    def fingerprint(self) -> str | None:
        """Of the model that the store says it was filled with; None if it does not say."""
        return self._description.model.fingerprint if self._description else None

    @property
    def dense_size(self) -> int | None:
        """How many numbers a dense vector beside the sparse one has; None: the store keeps none."""
        return None

    @property
    def passage_settings(self) -> Mapping[str, Any] | None:
        """How long texts are split, see splitting.Splitter; None: the store keeps whole documents only."""
        return self._description.passages if self._description else None

    @functools.cached_property
    def splitter(self) -> Splitter | None:
        """Splits long texts as the store's are split; None: they are stored whole. Needs the store's encoder."""
        return None if self.passage_settings is None else Splitter(self.encoder, **self.passage_settings)

    # -- reading ---------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | SparseVector,
        top_k: int = 10,
        *,
        filter: Filter | None = None,
        with_payload: bool = True,
        group: bool = True,
        min_score: float | None = None,
        best: int = 1,
    ) -> list[Hit]:
        """The `top_k` documents with the largest dot product, best first; ties by document id.

        Documents that share no term with the query are not hits, so fewer than top_k may come back. The score of a document of several
        passages is that of its best one, which is the hit's `passage`; with `best` the mean of its best few.

        Args:
            query: a text (encoded as a query) or a ready vector.
            top_k: 1..10,000.
            filter: see `splade_ptbr_connectors.filters`, or the engine's own filter object.
            with_payload: False leaves the hits' payloads empty, which is faster: ids and scores only.
            group: False returns passages as hits of their own: the top_k best, several of one document among them.
            min_score: hits with a smaller score are left out.
            best: 1..100: a document's score is the mean of so many of its best passages that share a term with the query, of all where it
                has fewer. More than 1 reads the documents that may be among the first, with all of their vectors.

        Raises:
            ConfigError: a bad argument; `best` with `group` False or a filter on the field "text", which ask for single passages.
        """
        self._check_open()
        search = checked_search(self.encoder, query, top_k, filter, min_score, with_payload, group, best)
        return drive(self._searched(search), self._answer)

    async def asearch(
        self,
        query: str | SparseVector,
        top_k: int = 10,
        *,
        filter: Filter | None = None,
        with_payload: bool = True,
        group: bool = True,
        min_score: float | None = None,
        best: int = 1,
    ) -> list[Hit]:
        """search() without blocking the event loop: on an asynchronous client where the engine has one, else in a thread."""
        self._check_open()
        given = self.encoder, query, top_k, filter, min_score, with_payload, group, best
        search = await asyncio.to_thread(checked_search, *given)
        return await drive_async(self._searched(search), self._aanswer, in_threads=best > 1)

    def _searched(self, search: Search) -> Asking[list[Hit]]:
        if not len(search.query):
            return []
        hits = [] if self._met_passages else (yield Ask("search", search[:4]))
        if self._meets_passages(hits):
            if search.best > 1:
                hits = yield from by_mean_of_best(search, self.quantized, self.score_tolerance, by_score=self.knows_tolerance)
            else:
                hits = yield Ask("search_passages", search[:5])
        for asked in self._field_names.unknown(search.filter, hits):
            try:
                self._field_names.take(asked, (yield Ask("has_any", (asked.condition,))))
            except StoreError as error:
                self._field_names.not_found_out(asked, error)
        return at_least(hits, search.min_score)

    def unknown_fields(self, filter: Filter | None) -> list[str]:
        """The names in a filter that no document has, as far as searches with it have looked for them: up to 4, in small stores."""
        self._check_open()
        return self._field_names.missing(parsed(filter), self._has_any)

    def search_hybrid(
        self,
        query: str | SparseVector,
        dense: Sequence[float],
        top_k: int = 10,
        *,
        prefetch: int | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
        filter: Filter | None = None,
        min_score: float | None = None,
    ) -> list[Hit]:
        """The best documents by the weighted sum of a sparse and a dense search, or by their ranks; ties by document id.

        The sum is of scores from 0 to 1: the first hit of a search counts 1, its last one, and every document that is not among its hits,
        0 (fusion.WeightedSum has the details).

        Args:
            dense: the query's dense vector.
            prefetch: how many hits of each search are fused; None takes max(100, 5 * top_k).
            dense_weight: 0..1, the share of the dense score; None takes 0.3.
            rrf_k: 1..1,000,000; given, ranks are fused instead of scores: score = sum of 1 / (rrf_k + rank), ranks from 1 (Cormack,
                Clarke and Büttcher 2009, who take 60).
            min_score: hits with a smaller fused score are left out.

        Raises:
            ConfigError: the engine or this collection has no dense vectors, or a bad argument, or both dense_weight and rrf_k.
        """
        self._check_open()
        search = checked_hybrid(self.encoder, query, dense, top_k, prefetch, dense_weight, rrf_k, filter, min_score)
        return at_least(self._search_hybrid(search), min_score)

    async def asearch_hybrid(
        self,
        query: str | SparseVector,
        dense: Sequence[float],
        top_k: int = 10,
        *,
        prefetch: int | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
        filter: Filter | None = None,
        min_score: float | None = None,
    ) -> list[Hit]:
        """search_hybrid() without blocking the event loop."""
        self._check_open()
        search = await asyncio.to_thread(
            checked_hybrid, self.encoder, query, dense, top_k, prefetch, dense_weight, rrf_k, filter, min_score
        )
        return at_least(await self._asearch_hybrid(search), min_score)

    def get(self, doc_ids: Sequence[str]) -> dict[str, Entry]:
        """The stored entries of these documents; ids that are not stored are left out."""
        self._check_open()
        ids = list(check_doc_ids(doc_ids))
        return self._get(ids) if ids else {}

    async def aget(self, doc_ids: Sequence[str]) -> dict[str, Entry]:
        """get() without blocking the event loop."""
        self._check_open()
        ids = list(check_doc_ids(doc_ids))
        return await self._aget(ids) if ids else {}

    def exists(self, doc_id: str) -> bool:
        """Whether the document is stored."""
        return check_doc_id(doc_id) in self.get([doc_id])

    def content_hashes(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """The content hashes of those of these documents that are stored with one."""
        self._check_open()
        ids = list(check_doc_ids(doc_ids))
        return self._content_hashes(ids) if ids else {}

    def count(self, *, filter: Filter | None = None) -> int:
        """Number of stored documents, exact; with a filter, of those that it lets pass."""
        self._check_open()
        return self._count(parsed(filter))

    async def acount(self, *, filter: Filter | None = None) -> int:
        """count() without blocking the event loop."""
        self._check_open()
        return await self._acount(parsed(filter))

    def scan(self, *, with_vectors: bool = True, page_size: int = 1000) -> Iterator[Entry]:
        """Every stored entry once, in no promised order, a page at a time; documents written meanwhile may or may not come.

        Args:
            with_vectors: False leaves vectors and payloads empty, which is faster: ids and content hashes only.
        """
        check("page_size", page_size, Positive)
        cursor: Any = None
        while True:
            self._check_open()
            entries, cursor = self._scan_page(cursor, page_size, with_vectors)
            yield from entries
            if cursor is None:
                return

    def quantized(self, vector: SparseVector) -> SparseVector:
        """A document's vector as the engine's scores see it: with its weights rounded to what the engine keeps of them."""
        return vector

    def score_tolerance(self, query: SparseVector, vector: SparseVector) -> float:
        """How far search() may score this document from `query.dot(quantized(vector))`: what adding up and rounding take."""
        return SCORE_TOLERANCE * query.dot(self.quantized(vector))

    @property
    def knows_tolerance(self) -> bool:
        """Whether score_tolerance() holds whatever has been deleted; under uint8 an index keeps the range of weights that are gone."""
        return True

    def info(self) -> dict[str, Any]:
        """What `splade-ptbr doctor` says about the store: engine, version, settings, what it lacks. JSON values, no secrets.

        "passages" is how long texts are split, False for a store of whole documents.
        """
        return {"engine": self.engine, "url": self.url, "passages": dict(self.passage_settings) if self.passage_settings else False}

    # -- writing ---------------------------------------------------------------------------------------------------

    def upsert_vectors(self, entries: Iterable[tuple[Any, ...]]) -> int:
        """Insert or replace documents; durable when it returns. Returns how many were written.

        Args:
            entries: (doc_id, SparseVector) pairs, (doc_id, SparseVector, payload) triples, or Entry objects; any
                iterable. Each batch is validated whole before any of it is sent.

        Raises:
            VectorError, RecordError, TextError: for the first bad entry; the batches before it are stored, its own is not.
        """
        written, refusals = 0, []
        for batch in batched(entries, self.max_batch_documents):
            refused = self.load(batch)
            written += len(batch) - len(refused)
            refusals += refused
        if refusals:
            raise StoreRefusedError(
                f"{self.url} refused {len(refusals):,} documents, first {refusals[0].doc_id!r}: {refusals[0].reason}; the other "
                f"{written:,} are stored. Correct the refused ones (`refusals` of this error) and load them again.",
                refusals,
            )
        return written

    def load(self, entries: Sequence[tuple[Any, ...]]) -> list[Refusal]:
        """Insert or replace one batch; durable when it returns. May be called from `max_in_flight` threads at once.

        Returns: the documents that the engine refused; the others are stored.

        Raises:
            VectorError, RecordError, TextError: for the first bad entry; nothing of the batch is sent.
        """
        self._check_open()
        self._field_names.written()
        return self._upsert(self._checked(entries))

    async def aload(self, entries: Sequence[tuple[Any, ...]]) -> list[Refusal]:
        """load() without blocking the event loop."""
        self._check_open()
        self._field_names.written()
        return await self._aupsert(await asyncio.to_thread(self._checked, entries))

    def delete(self, doc_ids: Iterable[str]) -> int:
        """Delete documents by id; ids that are not stored are not an error. Returns how many were deleted."""
        self._check_open()
        return sum(self._delete(batch) for batch in batched(check_doc_ids(doc_ids), self.max_batch_documents))

    async def adelete(self, doc_ids: Iterable[str]) -> int:
        """delete() without blocking the event loop."""
        self._check_open()
        deleted = [await self._adelete(batch) for batch in batched(check_doc_ids(doc_ids), self.max_batch_documents)]
        return sum(deleted)

    def delete_where(self, filter: Filter) -> int:
        """Delete the documents that a filter lets pass. Returns how many.

        Raises:
            ConfigError: the filter is empty, or lets every document pass without naming a field, as {"$or": [{}]} does: name what is to go.
        """
        self._check_open()
        return self._delete_where(parsed_to_delete(filter))

    def sweep(self) -> int:
        """Delete passages that count no more, left by writes that were cut off: no search sees them, they cost room. Returns how many."""
        self._check_open()
        return 0

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Around a bulk load: an engine may tune settings during the load, and restores them whatever happens."""
        self._check_open()
        yield

    def flush(self) -> None:
        """Flush acknowledged writes to disk, so that they survive a power cut too. A checkpoint is written after it."""

    def finish_loading(self) -> None:
        """Called once after a bulk load: what was loaded is found from then on. The engine may build or merge its index."""

    # -- checks -----------------------------------------------------------------------------------------------------

    def _checked(self, entries: Sequence[tuple[Any, ...]]) -> list[Entry]:
        vocab_size = self.encoder.vocab_size
        checked = [check_entry(entry, vocab_size) for entry in entries]
        if self.passage_settings is None:
            several = next((entry.doc_id for entry in checked if entry.passages), None)
            if several is not None:
                raise ConfigError(
                    f"the document {several!r} has several passages, {self.url} keeps whole documents only: give it one vector."
                )
        return checked

    def _meets_passages(self, hits: Sequence[Hit]) -> bool:
        """Whether one of them is one of several passages; the searches after the first such take that into account at once."""
        self._met_passages = self._met_passages or any([hit.place is not None for hit in hits])
        return self._met_passages


def check_is_store(store: object) -> None:
    """Raise ConfigError unless this is an open store, and not the URL of one."""
    if not isinstance(store, Store):
        raise ConfigError(f"store is {store!r:.80}: it must be an open store, such as open_store('edge:my-documents', encoder='mini').")
