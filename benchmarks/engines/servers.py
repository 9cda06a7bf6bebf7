"""What engines on a server share: its address, names that are free on it, and how to find what an earlier build has left there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from benchmarks.engines.base import Engine, Hits, Query, Settings
from benchmarks.engines.options import Options
from splade_ptbr_connectors.errors import ConfigError, SpladeConnectorsError, StoreNotFoundError
from splade_ptbr_connectors.stores.retries import Failure

_FILE = "name.txt"


class ServerOptions(Options):
    """Of any server.

    Attributes:
        pid: the server's process, where it runs on this machine: its memory then counts.
    """

    pid: PositiveInt | None = None

    def processes(self) -> list[int]:
        """Ids of this process, and of the server where it is known."""
        return [os.getpid(), *([self.pid] if self.pid else [])]


class ServerEngine(Engine):
    """An engine by the client of its server, asked in requests of several queries each."""

    options: Any  # ServerOptions with `asked`, the queries of a request

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        """So many requests at once; how many threads the server uses for them is its own setting."""
        size = self.options.asked
        parts = [queries[begin : begin + size] for begin in range(0, len(queries), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [each for part in pool.map(lambda part: self._together(part, top_k), parts) for each in part]

    @abstractmethod
    def _together(self, queries: Sequence[Query], top_k: int) -> list[Hits]:
        """The hits of the queries of one request, in their order."""

    def processes(self) -> list[int]:
        processes: list[int] = self.options.processes()
        return processes


def server_url(settings: Settings, engine: str) -> str:
    """The address of the server of an engine. Raises ConfigError where none was given."""
    try:
        return settings.urls[engine].rstrip("/")
    except KeyError:
        option = engine.partition(":")[0]
        raise ConfigError(f"the engine {engine} needs the address of a server: give one, as --{option} http://HOST:PORT.") from None


def name_prefix(home: Path) -> str:
    """What names begin with that belong to this home on this machine, so that what is left of an earlier build can be found."""
    place = f"{platform.node()} {home.resolve()}"
    return f"splade-benchmark-{hashlib.blake2b(place.encode(), digest_size=8).hexdigest()}-"


def new_name(home: Path) -> str:
    """A name that nothing on the server has; saved in `home`."""
    name = f"{name_prefix(home)}{uuid.uuid4().hex[:8]}"
    (home / _FILE).write_text(name, encoding="ascii")
    return name


def saved_name(home: Path) -> str:
    """The name that new_name() gave. Raises StoreNotFoundError."""
    try:
        return (home / _FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        raise StoreNotFoundError(f"{home} holds no index: build it first.") from None


@contextlib.contextmanager
def translated(read_failure: Callable[[Exception, str], Failure], url: str) -> Iterator[None]:
    """Turn what a client raises into an error of this package, as its store does; nothing is tried again."""
    try:
        yield
    except SpladeConnectorsError:
        raise
    except Exception as error:
        raise read_failure(error, url).error from error
