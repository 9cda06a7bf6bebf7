"""Loads that are measured against a server's own loader: both sides reach the server, whichever protocol its address names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from benchmarks.stores.load import _into_qdrant, _upload_points, make_documents
from tests.support.qdrant_grpc import GrpcStandIn, grpc_stand_in
from tests.support.qdrant_server import StandIn, stand_in


@pytest.mark.parametrize("starting", [stand_in, grpc_stand_in], ids=["http", "grpc"])
def test_both_sides_load_over_the_protocol_of_the_address(
    starting: Callable[[], AbstractContextManager[StandIn | GrpcStandIn]],
) -> None:
    documents = make_documents(30)
    with starting() as server:
        assert _upload_points(documents, server.url) > 0
        assert _into_qdrant(documents, server.url)() > 0
        assert server.client.get_collections().collections == []
