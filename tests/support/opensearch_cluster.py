"""A cluster of real OpenSearch nodes on 127.0.0.1, whose nodes can be killed and come back."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from tests.support.opensearch_server import OpenSearchServer, free_ports

HEAP = "512m"
DISK_WATERMARKS = "cluster.routing.allocation.disk.watermark"


class OpenSearchCluster:
    """Nodes named node-0, node-1 ..., each of which may be elected, so that all but the smaller half of them must run.

    Looks at the disk every ten seconds, as often as it can. As a context manager it is started and, whatever happens, stopped.
    """

    def __init__(self, size: int = 3, *, heap: str = HEAP) -> None:
        ports = free_ports(2 * size)
        names = [f"node-{number}" for number in range(size)]
        common = {
            "discovery.type": "zen",
            "cluster.name": f"splade-{os.getpid()}-{ports[0]}",
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports[size:]),
            "cluster.initial_cluster_manager_nodes": ",".join(names),
            "cluster.info.update.interval": "10s",
            "indices.recovery.internal_action_timeout": "20s",  # else a copy whose source did not hear of it hangs for 15 minutes
            "indices.recovery.recovery_activity_timeout": "30s",
            "cluster.routing.allocation.disk.threshold_enabled": "true",
            **{f"{DISK_WATERMARKS}.{name}": "1b" for name in ("low", "high", "flood_stage")},
        }
        self.nodes = [
            OpenSearchServer(settings={**common, "node.name": name, "transport.port": transport}, heap=heap, port=port)
            for name, port, transport in zip(names, ports[:size], ports[size:], strict=True)
        ]
        self._keeper = ThreadPoolExecutor(1, "opensearch-cluster")  # a node ends with the thread that launched it

    def __enter__(self) -> Self:
        try:
            self.start(*range(len(self.nodes)))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def urls(self) -> list[str]:
        """Of the nodes, those that do not run included."""
        return [node.url for node in self.nodes]

    def start(self, *numbers: int) -> None:
        """Start nodes, those that run left alone, and wait until all that run have found each other; if all do, until all is green."""
        self.starting(*numbers).result()

    def starting(self, *numbers: int) -> Future[None]:
        """The same without waiting."""
        return self._keeper.submit(self._start, numbers)

    def _start(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            if self.nodes[number].pid is None:
                self.nodes[number].launch()
        for node in self.nodes:
            if node.pid is not None:
                node.wait_until(lambda node=node: self._is_whole(node))  # type: ignore[misc]

    def kill(self, *numbers: int) -> None:
        """kill -9 of nodes. The others learn of it by themselves."""
        for number in numbers:
            self.nodes[number].kill()

    def stop(self) -> None:
        """Stop all nodes and remove their folders, also where one of them resists."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._keeper.shutdown)
            for node in self.nodes:
                stack.callback(node.stop)

    def ask(self, method: str, path: str, body: Any = None, *, node: int = 0) -> Any:
        """A request to a node, past every client. Raises OSError."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.urls[node]}/{path}", content, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _is_whole(self, node: OpenSearchServer) -> bool:
        running = sum(each.pid is not None for each in self.nodes)
        try:
            health = self.ask("GET", "_cluster/health", node=self.nodes.index(node))
        except (OSError, ValueError):
            return False
        green = health["status"] == "green" or running < len(self.nodes)
        return health["number_of_nodes"] == running and green and not health["initializing_shards"]
