"""Finds the index that a store is to use, or makes it."""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import ConfigError, StoreError, StoreFormatError, StoreNotFoundError
from ..binding import ModelStamp
from ..calls import Call, Operation
from ..credentials import Credentials
from ..description import StoreDescription
from ..performing import Performer
from ..retrying import Failure, RetryPolicy
from .capabilities import detect
from .failures import read_failure
from .index import ENGINE, Index, creation, guard_name, read_index, stored_settings
from .settings import OpenSearchSettings

T = TypeVar("T")
MAX_SPARSE_VECTOR_TERMS = 32_768  # the server folds term ids beyond this onto others


class Opener(Performer):
    """Runs operations on a blocking client before there is a store."""

    def __init__(self, client: Any, url: str, policy: RetryPolicy, credentials: Credentials | None) -> None:
        self._client = client
        self._url = url
        self._policy = policy
        self._credentials = credentials or Credentials()  # what no message may repeat

    def run(self, operation: Operation[T]) -> T:
        """The result of an operation, its calls retried as those of a store."""
        return self._run(operation)

    def _read_failure(self, error: Exception, call: Call) -> Failure:
        return read_failure(error, self._url)


def find(name: str) -> Operation[Index | None]:
    """The index of this name, or behind this alias; None when there is none."""
    try:
        answer = yield Call("indices.get", {"index": name, "params": {"flat_settings": "true"}})
    except StoreNotFoundError:
        return None
    if not isinstance(answer, dict):
        raise StoreFormatError(f"the server describes the index {name!r} by something else than JSON: check that no proxy is in between.")
    return read_index(answer, name)


def create(name: str, model: ModelStamp, settings: OpenSearchSettings) -> Operation[Index]:
    """A new index; that of another process if one was faster.

    Raises:
        ConfigError: sparse_vector is asked for, and the server or the model cannot have it.
    """
    if settings.field_type == "sparse_vector":
        yield from _check_sparse_vector(model)
    description = StoreDescription(ENGINE, model, stored_settings(settings))
    try:
        yield Call("indices.create", {"index": name, "body": creation(description, settings, name)})
    except StoreError as error:
        # a retry after a lost answer, or another process: whoever made it, it is there and says whose it is
        if "resource_already_exists" not in str(error) and "already exists" not in str(error):
            raise
    index = yield from find(name)
    if index is None:
        raise StoreNotFoundError(f"the index {name!r} was deleted while it was made: open the store again.")
    return index


def ensure_guard(index: Index) -> Operation[str]:
    """The guard of an index, made if it has none (restored from a snapshot, or not made by this package)."""
    if index.guard is not None:
        return index.guard
    guard = guard_name(index.name, index.description.store_id if index.description else index.uuid)
    yield Call("indices.put_alias", {"index": index.name, "name": guard, "body": {"is_hidden": True}})
    return guard


def _check_sparse_vector(model: ModelStamp) -> Operation[None]:
    if model.vocab_size > MAX_SPARSE_VECTOR_TERMS:
        raise ConfigError(
            f"the model {model} has {model.vocab_size:,} terms, a sparse_vector field keeps {MAX_SPARSE_VECTOR_TERMS:,} apart: "
            "use field_type=rank_features."
        )
    server = yield from detect()
    if not server.sparse_vector:
        raise ConfigError(
            f"the server ({server.distribution} {server.version}) has no sparse_vector field, which needs the neural-search plugin from "
            "3.3: use field_type=rank_features."
        )
