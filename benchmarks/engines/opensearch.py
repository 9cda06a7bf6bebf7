"""An OpenSearch server by its own client: the index of this package's store, rows as ids, queries of rank_feature clauses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from opensearchpy import OpenSearch as Client
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from benchmarks.engines.base import NO_HITS, Hits, Query
from benchmarks.engines.servers import ServerEngine, ServerOptions, name_prefix, new_name, saved_name, server_url, translated
from benchmarks.engines.store import load, ready
from splade_ptbr_connectors import open_store
from splade_ptbr_connectors.errors import StoreError
from splade_ptbr_connectors.stores.credentials import Credentials
from splade_ptbr_connectors.stores.opensearch.failures import read_failure
from splade_ptbr_connectors.stores.opensearch.query import rank_feature
from splade_ptbr_connectors.stores.opensearch.schema import read_index
from splade_ptbr_connectors.stores.opensearch.wire import FeatureLayout
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

SEARCHED = {"allow_partial_search_results": "false", "request_cache": "false"}
IN_TURN = {"max_concurrent_searches": 1}
_KEPT = np.uint32(0xFFFF8000)  # sign, exponent and 8 bits of a float32


class OpenSearchOptions(ServerOptions):
    """See ServerOptions.

    Attributes:
        merge: segments of a shard after the load; 0 leaves them as they came.
        shards: of the index. It has no replicas.
        asked: queries of a request of a batch search.
        timeout_s: for one answer, merge_timeout_s: for the merging.
    """

    merge: NonNegativeInt = 1
    shards: PositiveInt = 1
    asked: PositiveInt = 16
    timeout_s: PositiveFloat = 120.0
    merge_timeout_s: PositiveFloat = 3600.0


class OpenSearch(ServerEngine):
    """One index, searched without stored fields: a row is read from the column of document ids."""

    accepted: ClassVar[type[ServerOptions]] = OpenSearchOptions
    options: OpenSearchOptions

    def build(self) -> None:
        self.remove()
        url, rows = f"opensearch+{self._server}/{new_name(self.home)}", range(len(self.workload.documents))
        with open_store(url, encoder=ready(self.workload), settings=store_settings(self.options)) as store:
            load(store, zip(map(str, rows), self.workload.documents, strict=True), len(self.workload.documents))
        with self._short_client() as client:
            settle(client, saved_name(self.home))

    def open(self) -> None:
        self._name = saved_name(self.home)
        with self._short_client() as client:
            self._layout = _layout(client, self._name)
        self._client = make_client(self._server, self.options.timeout_s)

    def search(self, query: Query, top_k: int) -> Hits:
        if not len(query.vector):
            return NO_HITS
        body = self._body(query.vector, top_k)
        with self._translated():
            answer = self._client.search(index=self._name, body=body, params=SEARCHED)
        return _found(answer, self._name)

    def _together(self, queries: Sequence[Query], top_k: int) -> list[Hits]:
        lines = [line for query in queries if len(query.vector) for line in ({}, self._body(query.vector, top_k))]
        with self._translated():
            answers = iter(self._client.msearch(index=self._name, body=lines, params=IN_TURN)["responses"] if lines else [])
        return [_found(next(answers), self._name) if len(query.vector) else NO_HITS for query in queries]

    def _body(self, vector: SparseVector, top_k: int) -> dict[str, Any]:
        return {
            "query": rank_feature(vector, {}, self._layout),
            "size": top_k,
            "track_total_hits": False,
            "_source": False,
            "stored_fields": "_none_",
            "docvalue_fields": ["doc_id"],
        }

    def close(self) -> None:
        self._client.close()

    def remove(self) -> None:
        with self._short_client() as client:
            drop_indices(client, name_prefix(self.home))

    def quantized(self, vectors: SparseBatch) -> SparseBatch:
        kept = (np.asarray(vectors.weights).view(np.uint32) & _KEPT).view(np.float32)
        return SparseBatch(vectors.indptr, vectors.term_ids, kept)

    def bytes_on_disk(self) -> int | None:
        with self._short_client() as client:
            return index_bytes(client, saved_name(self.home))

    def facts(self) -> dict[str, Any]:
        with self._short_client() as client:
            return index_facts(client, saved_name(self.home))

    @property
    def _server(self) -> str:
        return server_url(self.settings, "opensearch")

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translated(read_failure, self._server)

    def _short_client(self) -> contextlib.AbstractContextManager[Client]:
        return client_for(self._server, self.options.timeout_s)


def make_client(url: str, timeout_s: float) -> Client:
    """A client for http(s)://HOST:PORT; user and password, or an API key, come from the environment, as for a store."""
    credentials, arguments = Credentials.from_environment("opensearch"), dict[str, Any]()
    if credentials.api_key is not None:
        arguments["headers"] = {"authorization": f"ApiKey {credentials.api_key.get_secret_value()}"}
    if credentials.password is not None:
        arguments["http_auth"] = (credentials.user, credentials.password.get_secret_value())
    if url.startswith("https:"):
        arguments |= {"verify_certs": credentials.verify, "ca_certs": credentials.ca_certs and str(credentials.ca_certs)}
    return Client([url], timeout=timeout_s, pool_maxsize=64, **arguments)


@contextlib.contextmanager
def client_for(url: str, timeout_s: float) -> Iterator[Client]:
    """A client for the time of the block, what it raises translated."""
    with make_client(url, timeout_s) as client, translated(read_failure, url):
        yield client


def store_settings(options: OpenSearchOptions) -> dict[str, Any]:
    """Settings of a store whose index these options describe."""
    merged = {"merge_segments": options.merge} if options.merge else {}
    return {"replicas": 0, "shards": options.shards, "load_deadline_s": options.merge_timeout_s, **merged}


def drop_indices(client: Client, prefix: str) -> None:
    """Delete the indices whose names begin so."""
    client.indices.delete(index=f"{prefix}*", params={"expand_wildcards": "all", "ignore_unavailable": "true"})


def settle(client: Client, name: str) -> None:
    """Let searches use the merged segments: until a refresh they read those that were merged, which stay on the disk as well."""
    client.indices.refresh(index=name)
    client.indices.flush(index=name)


def index_bytes(client: Client, name: str) -> int:
    """What the index takes on the disk of the server: its segments, of whose sum the server's statistics are some seconds old."""
    shards = client.indices.segments(index=name)["indices"][name]["shards"].values()
    return sum(segment["size_in_bytes"] for copies in shards for copy in copies for segment in copy["segments"].values())


def index_facts(client: Client, name: str) -> dict[str, Any]:
    """Version of the server, and the shape of the index."""
    version = client.info()["version"]
    stats = client.indices.stats(index=name, metric="segments")
    heaps = [node["jvm"]["mem"]["heap_max_in_bytes"] for node in client.nodes.info(metric="jvm")["nodes"].values()]
    return {
        "distribution": version.get("distribution", "elasticsearch"),
        "version": version["number"],
        "shards": stats["_shards"]["successful"],
        "segments": stats["_all"]["primaries"]["segments"]["count"],
        "heap_bytes": heaps,
        "query": "rank_feature",
    }


def _layout(client: Client, name: str) -> FeatureLayout:
    return read_index(client.indices.get(index=name, params={"flat_settings": "true"}), name).layout


def _found(answer: Any, name: str) -> Hits:
    """Raises StoreError: a search that failed, or in which not every shard took part."""
    if "error" in answer or answer["_shards"]["failed"] or answer["timed_out"]:
        raise StoreError(f"the server could not search {name}: {answer.get('error', answer.get('_shards'))!s:.300}.")
    hits = answer["hits"]["hits"]
    return Hits.of([int(hit["fields"]["doc_id"][0]) for hit in hits], [hit["_score"] for hit in hits])
