"""`qdrant:store` and `opensearch:store`: stores of this package on a server."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.engines import opensearch, qdrant
from benchmarks.engines.opensearch import OpenSearchOptions
from benchmarks.engines.qdrant import QdrantOptions
from benchmarks.engines.servers import ServerOptions, name_prefix, new_name, saved_name, server_url
from benchmarks.engines.store import StoreEngine


class StoreOnServer(StoreEngine):
    """Drops what an earlier build of the same home has left on the server."""

    accepted: ClassVar[type[ServerOptions]] = ServerOptions
    options: Any

    def build(self) -> None:
        self.remove()
        super().build()

    def processes(self) -> list[int]:
        processes: list[int] = self.options.processes()
        return processes

    @property
    def _engine(self) -> str:
        return self.name.partition(":")[0]

    @property
    def _server(self) -> str:
        return server_url(self.settings, self._engine)

    def _url(self, *, create: bool) -> str:
        return f"{self._engine}+{self._server}/{new_name(self.home) if create else saved_name(self.home)}"


class QdrantStore(StoreOnServer):
    """A collection in the layout of this package, documents under UUIDs of their ids."""

    accepted: ClassVar[type[ServerOptions]] = QdrantOptions

    def remove(self) -> None:
        with qdrant.client_for(self._server, self.options.timeout_s) as client:
            qdrant.drop_collections(client, name_prefix(self.home))

    def bytes_on_disk(self) -> int | None:
        return qdrant.collection_bytes(self.options.data, saved_name(self.home))

    def _settings(self) -> dict[str, Any]:
        return {"timeout_s": float(self.options.timeout_s), "finish_timeout_s": self.options.index_timeout_s}


class OpenSearchStore(StoreOnServer):
    """An index in the layout of this package."""

    accepted: ClassVar[type[ServerOptions]] = OpenSearchOptions

    def build(self) -> None:
        super().build()
        with opensearch.client_for(self._server, self.options.timeout_s) as client:
            opensearch.settle(client, saved_name(self.home))

    def remove(self) -> None:
        with opensearch.client_for(self._server, self.options.timeout_s) as client:
            opensearch.drop_indices(client, name_prefix(self.home))

    def bytes_on_disk(self) -> int | None:
        with opensearch.client_for(self._server, self.options.timeout_s) as client:
            return opensearch.index_bytes(client, saved_name(self.home))

    def _settings(self) -> dict[str, Any]:
        return opensearch.store_settings(self.options)
