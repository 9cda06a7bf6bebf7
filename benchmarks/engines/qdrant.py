"""A Qdrant server by its own client: rows as ids, no payloads, searched when the collection is green."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveFloat, PositiveInt
from qdrant_client import QdrantClient, models

from benchmarks.engines.base import NO_HITS, Hits, Query
from benchmarks.engines.servers import ServerEngine, ServerOptions, name_prefix, new_name, saved_name, server_url, translated
from benchmarks.engines.slices import numbered
from benchmarks.harness.machine import disk_bytes
from splade_ptbr_connectors.errors import ConfigError, StoreError, StoreUnavailableError
from splade_ptbr_connectors.stores.address import parse_address
from splade_ptbr_connectors.stores.credentials import Credentials, environment_names
from splade_ptbr_connectors.stores.qdrant.client import Clients
from splade_ptbr_connectors.stores.qdrant.failures import read_failure
from splade_ptbr_connectors.stores.qdrant.settings import QdrantSettings
from splade_ptbr_connectors.vectors import SparseVector

VECTOR = "sparse"
PORTS = {"http": 6333, "https": 6333, "grpc": 6334, "grpcs": 6334}
POLL_S, STEADY = 0.2, 3  # a collection counts as green when it was so many times in a row: optimizing may begin a little late


class QdrantOptions(ServerOptions):
    """See ServerOptions.

    Attributes:
        data: the server's storage folder, where it can be seen from here: the size on disk then counts.
        batch: points of a request; asked: queries of a request of a batch search.
        timeout_s: for one answer, index_timeout_s: for the index after the load.
    """

    data: Path | None = None
    batch: PositiveInt = 256
    asked: PositiveInt = 16
    timeout_s: PositiveInt = 120
    index_timeout_s: PositiveFloat = 1800.0


class Qdrant(ServerEngine):
    """One collection with one sparse vector, its settings the server's own."""

    accepted: ClassVar[type[ServerOptions]] = QdrantOptions
    options: QdrantOptions

    def build(self) -> None:
        documents = self.workload.documents
        self.remove()
        name = new_name(self.home)
        with self._client() as client:
            client.create_collection(name, vectors_config={}, sparse_vectors_config={VECTOR: models.SparseVectorParams()})
            for rows in numbered(documents, self.options.batch, f"{self.name}: build"):  # upload_points() leaves its connection open
                client.upsert(name, [models.PointStruct(id=row, vector={VECTOR: vector.to_qdrant()}) for row, vector in rows], wait=True)
            wait_until_green(client, name, self.options.index_timeout_s)
            stored = client.count(name, exact=True).count
        if stored != len(documents):
            raise StoreError(f"the server holds {stored:,} of {len(documents):,} documents: see its log.")

    def open(self) -> None:
        self._name = saved_name(self.home)
        with self._client() as client:
            client.get_collection(self._name)  # or an error that says that there is none
        self._open_client = make_client(self._server, self.options.timeout_s)

    def search(self, query: Query, top_k: int) -> Hits:
        if not len(query.vector):
            return NO_HITS
        asked = query.vector.to_qdrant()
        with self._translated():
            answer = self._open_client.query_points(
                self._name, query=asked, using=VECTOR, limit=top_k, with_payload=False, with_vectors=False
            )
        return _found(answer.points)

    def _together(self, queries: Sequence[Query], top_k: int) -> list[Hits]:
        asked = [self._request(query.vector, top_k) for query in queries if len(query.vector)]
        with self._translated():
            answers = iter(self._open_client.query_batch_points(self._name, asked) if asked else [])
        return [_found(next(answers).points) if len(query.vector) else NO_HITS for query in queries]

    @staticmethod
    def _request(vector: SparseVector, top_k: int) -> Any:
        return models.QueryRequest(query=vector.to_qdrant(), using=VECTOR, limit=top_k, with_payload=False, with_vector=False)

    def close(self) -> None:
        self._open_client.close()

    def remove(self) -> None:
        with self._client() as client:
            drop_collections(client, name_prefix(self.home))

    def bytes_on_disk(self) -> int | None:
        return collection_bytes(self.options.data, saved_name(self.home))

    def facts(self) -> dict[str, Any]:
        with self._client() as client:
            info = client.get_collection(saved_name(self.home))
            served = client.info().version
        protocol = self._server.partition(":")[0]
        return {"version": served, "protocol": protocol, "segments": info.segments_count, "status": str(info.status.value)}

    @property
    def _server(self) -> str:
        return server_url(self.settings, "qdrant")

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translated(read_failure, self._server)

    def _client(self) -> contextlib.AbstractContextManager[QdrantClient]:
        return client_for(self._server, self.options.timeout_s)


def make_client(url: str, timeout_s: int) -> QdrantClient:
    """A client for http(s)://HOST:PORT or grpc(s)://HOST:PORT; an API key comes from the environment, as for a store.

    Raises:
        ConfigError: another scheme.
    """
    scheme = url.partition(":")[0]
    if scheme not in PORTS:
        raise ConfigError(f"the address {url!r} of qdrant begins with none of {', '.join(f'{name}://' for name in PORTS)}: correct it.")
    environment = environment_names("qdrant")["api_key"]
    address = parse_address(f"qdrant+{url}/collection", default_port=PORTS[scheme], environment=environment)
    settings = QdrantSettings(timeout_s=timeout_s, max_in_flight=64)
    clients = Clients(address, Credentials.from_environment("qdrant"), settings)
    clients.check()
    return clients.client()


@contextlib.contextmanager
def client_for(url: str, timeout_s: int) -> Iterator[QdrantClient]:
    """A client for the time of the block, what it raises translated."""
    with contextlib.closing(make_client(url, timeout_s)) as client, translated(read_failure, url):
        yield client


def wait_until_green(client: QdrantClient, name: str, timeout_s: float) -> None:
    """Wait until the server has built its index.

    Raises:
        StoreError: building it failed.
        StoreUnavailableError: not within the time.
    """
    status = models.CollectionStatus
    deadline, steady = time.monotonic() + timeout_s, 0
    while steady < STEADY:
        seen = client.get_collection(name).status
        if seen == status.RED:
            raise StoreError(f"the collection {name} is red: see the server's log.")
        if time.monotonic() > deadline:
            raise StoreUnavailableError(f"the collection {name} is still {seen.value} after {timeout_s:g} s: raise qdrant.index_timeout_s.")
        steady = steady + 1 if seen == status.GREEN else 0
        time.sleep(POLL_S if steady < STEADY else 0)


def drop_collections(client: QdrantClient, prefix: str) -> None:
    """Delete the collections whose names begin so."""
    for found_there in client.get_collections().collections:
        if found_there.name.startswith(prefix):
            client.delete_collection(found_there.name)


def collection_bytes(data: Path | None, name: str) -> int | None:
    """What a collection takes in a server's storage folder; None: nobody said where that is. Raises ConfigError if it is not there."""
    if data is None:
        return None
    folder = data / "collections" / name
    if not folder.is_dir():
        raise ConfigError(f"qdrant.data is {str(data)!r}, which holds no collections/{name}: it must be the storage folder of this server.")
    return disk_bytes(folder)


def _found(points: Sequence[Any]) -> Hits:
    return Hits.of([point.id for point in points], [point.score for point in points])
