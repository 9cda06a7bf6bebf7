"""What engines on a server share: its address, names that are free on it, and how to find what an earlier build has left there."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import PositiveInt

from splade_ptbr_connectors.errors import ConfigError, SpladeConnectorsError, StoreNotFoundError
from splade_ptbr_connectors.stores.retrying import Failure

from .base import Settings
from .options import Options

_FILE = "name.txt"


class ServerOptions(Options):
    """Of any server.

    Attributes:
        pid: the server's process, where it runs on this machine: its memory then counts.
    """

    pid: PositiveInt | None = None


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
    """A name that nothing on the server has; noted in `home`."""
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
