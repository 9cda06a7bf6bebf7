"""A stand-in for Qdrant's gRPC interface on 127.0.0.1, over the client's local mode and its own conversions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc as rpc
from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc


@dataclass
class RpcFault:
    """What happens to one call: a status instead of an answer, or after the call was applied."""

    code: rpc.StatusCode
    details: str = "made up"
    after: bool = False
    retry_after: str | None = None
    method: str = ""


class GrpcStandIn:
    """The stand-in, running on `port`.

    Attributes:
        faults: what goes wrong next; each is used once.
        seen: (method, request, metadata) of the calls so far.
    """

    def __init__(self) -> None:
        self.faults: list[RpcFault] = []
        self.seen: list[tuple[str, Any, dict[str, str]]] = []
        self.client = QdrantClient(":memory:")
        self.lock = threading.Lock()
        self._server = rpc.server(ThreadPoolExecutor(4))
        points_service_pb2_grpc.add_PointsServicer_to_server(_Servicer(self, _POINTS), self._server)
        collections_service_pb2_grpc.add_CollectionsServicer_to_server(_Servicer(self, _COLLECTIONS), self._server)
        qdrant_pb2_grpc.add_QdrantServicer_to_server(_Servicer(self, {"HealthCheck": _health}), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.stop(0).wait()
        self.client.close()


@contextmanager
def grpc_stand_in() -> Iterator[GrpcStandIn]:
    """A stand-in for the time of the block."""
    server = GrpcStandIn()
    try:
        yield server
    finally:
        server.close()


Handler = Callable[[QdrantClient, Any], Any]


class _Servicer:
    """Any service: methods that the handlers do not have are UNIMPLEMENTED."""

    def __init__(self, server: GrpcStandIn, handlers: dict[str, Handler]) -> None:
        self._server, self._handlers = server, handlers

    def __getattr__(self, name: str) -> Callable[[Any, Any], Any]:
        def serve(request: Any, context: Any) -> Any:
            server = self._server
            server.seen.append((name, request, dict(context.invocation_metadata())))
            with server.lock:
                fault = next((fault for fault in server.faults if fault.method in ("", name)), None)
                if fault is not None:
                    server.faults.remove(fault)
                answer = None if fault is not None and not fault.after else self._handled(name, request, context)
            if fault is not None:
                if fault.retry_after is not None:
                    context.set_trailing_metadata((("retry-after", fault.retry_after),))
                context.abort(fault.code, fault.details)
            return answer

        return serve

    def _handled(self, name: str, request: Any, context: Any) -> Any:
        if name not in self._handlers:
            context.abort(rpc.StatusCode.UNIMPLEMENTED, name)
        try:
            return self._handlers[name](self._server.client, request)
        except ValueError as error:
            text = str(error)
            missing = text.startswith("Collection") and "not found" in text
            exists = "already exists" in text
            code = rpc.StatusCode.NOT_FOUND if missing else rpc.StatusCode.ALREADY_EXISTS if exists else rpc.StatusCode.INVALID_ARGUMENT
            context.abort(code, text)


def _health(client: QdrantClient, request: Any) -> Any:
    return grpc.HealthCheckReply(title="qdrant - vector search engine", version="1.18.0")


def _get(client: QdrantClient, request: Any) -> Any:
    info = client.get_collection(request.collection_name)
    number = "_passage.number"
    further = models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=number))])
    points = client.count(request.collection_name, count_filter=further).count
    info.payload_schema = {number: models.PayloadIndexInfo(data_type=models.PayloadSchemaType.INTEGER, points=points)}
    return grpc.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


def _create(client: QdrantClient, request: Any) -> Any:
    vectors = GrpcToRest.convert_vectors_config(request.vectors_config) if request.HasField("vectors_config") else {}
    sparse = GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config)
    metadata = GrpcToRest.convert_payload(request.metadata)
    client.create_collection(request.collection_name, vectors_config=vectors, sparse_vectors_config=sparse, metadata=metadata)
    return grpc.CollectionOperationResponse(result=True)


def _update(client: QdrantClient, request: Any) -> Any:
    client.update_collection(request.collection_name, metadata=GrpcToRest.convert_payload(request.metadata))
    return grpc.CollectionOperationResponse(result=True)


def _drop(client: QdrantClient, request: Any) -> Any:
    return grpc.CollectionOperationResponse(result=bool(client.delete_collection(request.collection_name)))


def _list(client: QdrantClient, request: Any) -> Any:
    names = [grpc.CollectionDescription(name=found.name) for found in client.get_collections().collections]
    return grpc.ListCollectionsResponse(collections=names)


def _list_aliases(client: QdrantClient, request: Any) -> Any:
    return grpc.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(found) for found in client.get_aliases().aliases])


def _update_aliases(client: QdrantClient, request: Any) -> Any:
    client.update_collection_aliases([GrpcToRest.convert_alias_operations(action) for action in request.actions])
    return grpc.CollectionOperationResponse(result=True)


def _done(client: QdrantClient, request: Any) -> Any:
    result = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)
    return grpc.PointsOperationResponse(result=RestToGrpc.convert_update_result(result))


def _upsert(client: QdrantClient, request: Any) -> Any:
    client.upsert(request.collection_name, [GrpcToRest.convert_point_struct(point) for point in request.points])
    return _done(client, request)


def _delete(client: QdrantClient, request: Any) -> Any:
    client.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points))
    return _done(client, request)


def _retrieve(client: QdrantClient, request: Any) -> Any:
    ids = [GrpcToRest.convert_point_id(point) for point in request.ids]
    records = client.retrieve(request.collection_name, ids, **_selected(request))
    return grpc.GetResponse(result=[_point(record) for record in records])


def _point(record: models.Record) -> Any:
    return RestToGrpc.convert_retrieved_point(record.model_copy(update={"payload": record.payload or {}}))


def _count(client: QdrantClient, request: Any) -> Any:
    found = client.count(request.collection_name, count_filter=_filter(request))
    return grpc.CountResponse(result=RestToGrpc.convert_count_result(found))


def _scroll(client: QdrantClient, request: Any) -> Any:
    offset = GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None
    records, following = client.scroll(
        request.collection_name, scroll_filter=_filter(request), limit=request.limit, offset=offset, **_selected(request)
    )
    page = [_point(record) for record in records]
    return grpc.ScrollResponse(result=page, next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following))


def _query(client: QdrantClient, request: Any) -> Any:
    answer = client.query_points(
        request.collection_name,
        query=GrpcToRest.convert_query(request.query),
        using=request.using or None,
        prefetch=[GrpcToRest.convert_prefetch_query(prefetch) for prefetch in request.prefetch] or None,
        query_filter=_filter(request),
        limit=request.limit,
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        **_selected(request),
    )
    return grpc.QueryResponse(result=[RestToGrpc.convert_scored_point(point) for point in answer.points])


def _query_batch(client: QdrantClient, request: Any) -> Any:
    answers = [_query(client, each).result for each in request.query_points]
    return grpc.QueryBatchResponse(result=[grpc.BatchResult(result=answer) for answer in answers])


def _filter(request: Any) -> Any:
    return GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None


def _selected(request: Any) -> dict[str, Any]:
    return {
        "with_payload": GrpcToRest.convert_with_payload_selector(request.with_payload) if request.HasField("with_payload") else True,
        "with_vectors": GrpcToRest.convert_with_vectors_selector(request.with_vectors) if request.HasField("with_vectors") else False,
    }


_POINTS: dict[str, Handler] = {
    "Upsert": _upsert,
    "Delete": _delete,
    "Get": _retrieve,
    "Count": _count,
    "Scroll": _scroll,
    "Query": _query,
    "QueryBatch": _query_batch,
    "CreateFieldIndex": _done,
}
_COLLECTIONS: dict[str, Handler] = {
    "Get": _get,
    "Create": _create,
    "Update": _update,
    "Delete": _drop,
    "List": _list,
    "ListAliases": _list_aliases,
    "UpdateAliases": _update_aliases,
}
