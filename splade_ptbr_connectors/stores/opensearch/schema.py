"""The index: found, created, adopted, put under an alias, and the settings that are tuned during a bulk load."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import ConfigError, StoreError, StoreFormatError, StoreNotFoundError
from ..calls import Operation
from ..model_stamp import ModelStamp, StoreDescription
from ..remote import Operations
from ..settings import as_stored
from .client import ask, detect
from .failures import check_whole
from .mapping import (
    ENGINE,
    LOADING,
    META,
    Index,
    check_name,
    creation,
    described,
    fixed_settings,
    lasting_settings,
    read_index,
    write_alias_name,
)
from .settings import OpenSearchSettings

MAX_SPARSE_VECTOR_TERMS = 32_768  # the server folds term ids beyond this onto others
LOAD_SETTINGS: Mapping[str, Any] = {"index.refresh_interval": "-1"}
LOAD_SETTINGS_EMPTY: Mapping[str, Any] = {**LOAD_SETTINGS, "index.number_of_replicas": "0"}


class Schema(Operations):
    """The operations on the index as such.

    Attributes:
        settings: as asked for, from open() on with those that the index has fixed.
        index: what the server said of it when it was opened.
        target: what requests are sent to.
    """

    engine: ClassVar[str] = ENGINE
    index: Index

    def __init__(self, url: str, collection: str, settings: OpenSearchSettings, tenant: str | None = None) -> None:
        super().__init__(url, check_name(collection), tenant)
        self.settings = settings
        self.target = self.collection

    def look(self) -> Operation[None]:
        self.take((yield from self.read()))

    def take(self, index: Index) -> None:
        """Work on this index from now on."""
        self.index, self.collection, self.description = index, index.name, index.description
        self.target = index.write_alias or index.name

    def read(self) -> Operation[Index]:
        """The index as it is now. Raises StoreNotFoundError."""
        name = self.target
        answer = yield from ask(lambda client: client.indices.get(index=name, params={"flat_settings": "true"}))
        if not isinstance(answer, dict):
            raise StoreFormatError(f"the server describes the index {name!r} by something other than JSON: is a proxy in between?")
        return read_index(answer, name)

    def create(self, model: ModelStamp) -> Operation[None]:
        """Raises ConfigError where sparse_vector is asked for, and the server or the model cannot have it."""
        if self.settings.field_type == "sparse_vector":
            yield from _check_sparse_vector(model)
        description = StoreDescription(ENGINE, model, lasting_settings(self.settings), passages=self.passages)
        body = creation(description, self.settings, self.collection)
        try:
            yield from ask(lambda client: client.indices.create(index=self.collection, body=body))
        except StoreError as error:
            # a retry after a lost answer, or another process: it exists, and its metadata names the owner
            if "resource_already_exists" not in str(error) and "already exists" not in str(error):
                raise
        yield from self.look()

    def settle(self) -> None:
        self.settings = as_stored(self.settings, fixed_settings(self.index, self.settings), self.url)

    def stored_settings(self) -> dict[str, Any]:
        return lasting_settings(self.settings)

    def describe(self, description: StoreDescription) -> Operation[None]:
        meta = {**self.index.meta, META: described(description, self.index.layout, self.index.facet_scheme)}
        yield from ask(lambda client: client.indices.put_mapping(index=self.collection, body={"_meta": meta}))
        # another write alias: an index without a description has one that is named by its uuid
        self.take(dataclasses.replace(self.index, description=description, meta=meta, write_alias=None))
        yield from self.ensure_write_alias()

    def ensure_write_alias(self) -> Operation[None]:
        """Give the index its write alias if it has none (restored from a snapshot, or not made by this package)."""
        index = self.index
        if index.write_alias is None:
            name = write_alias_name(index.name, index.description.store_id if index.description else index.uuid)
            yield from ask(lambda client: client.indices.put_alias(index=index.name, name=name, body={"is_hidden": True}))
            self.take(dataclasses.replace(index, write_alias=name))

    def point_alias(self, alias: str) -> Operation[str | None]:
        """Raises also StoreFormatError: it is an alias of several indices."""
        check_name(alias)
        found = yield from self._indices_of(alias)
        if alias in found:
            raise ConfigError(f"{alias!r} is an index, not an alias: choose another name for the alias, or delete the index first.")
        if len(found) > 1:
            raise StoreFormatError(f"{alias!r} is an alias of {len(found)} indices ({', '.join(found)}): remove it first.")
        before = found[0] if found else None
        actions: list[dict[str, Any]] = [{"add": {"index": self.collection, "alias": alias}}]
        if before is not None and before != self.collection:
            actions.insert(0, {"remove": {"index": before, "alias": alias, "must_exist": True}})
        yield from ask(lambda client: client.indices.update_aliases(body={"actions": actions}))
        return before

    def _indices_of(self, alias: str) -> Operation[list[str]]:
        try:
            return sorted((yield from ask(lambda client: client.indices.get(index=alias))))
        except StoreNotFoundError:
            return []

    # -- the settings of a bulk load -----------------------------------------------------------------------------------

    def begin_load(self) -> Operation[dict[str, Any]]:
        """Switch to the settings of a load. Returns what is to be restored.

        The description of the index and its settings come in one answer, of one moment: whoever sees settings of a load sees
        the saved ones as well, and takes the values from there, however many loads run at once.
        """
        index = yield from self._read_again()
        previous = previous_settings(index)
        if index.saved_settings is None:
            yield from _save(index, previous)
        yield from _put_settings(index.name, (yield from _load_settings(index, previous)))
        later = yield from self._read_again()
        if later.saved_settings is None:  # another load ended in between and removed them
            yield from _save(later, previous)
        return previous

    def end_load(self, previous: Mapping[str, Any], *, patient: bool) -> Operation[None]:
        """Restore the settings, then forget the saved ones."""
        yield from _put_settings(self.target, previous, patient=patient)
        index = yield from self._read_again()
        if index.saved_settings is not None:
            yield from _save(index, None, patient=patient)

    def restore_settings(self) -> Operation[bool]:
        """What a load that was cut off has left undone. Returns whether there was anything."""
        index = yield from self._read_again()
        if index.saved_settings is None:
            return False
        yield from self.end_load(previous_settings(index), patient=False)
        return True

    def _read_again(self) -> Operation[Index]:
        try:
            return (yield from self.read())
        except StoreNotFoundError:
            raise self.deleted_meanwhile() from None

    def deleted_meanwhile(self) -> StoreNotFoundError:
        """The error for an index that was there when the store was opened."""
        return StoreNotFoundError(f"the index {self.collection!r} was deleted or replaced meanwhile: open the store again.")


def previous_settings(index: Index) -> dict[str, Any]:
    """What a load has to restore: as saved by one that has not ended, else as the index has it now. None: the server's default."""
    source = index.settings if index.saved_settings is None else index.saved_settings
    return {name: source.get(name) for name in LOAD_SETTINGS_EMPTY}


def with_saved_settings(meta: Mapping[str, Any], saved: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mapping that holds the settings to restore, or None to remove them."""
    kept = {name: value for name, value in meta.items() if name != LOADING}
    return {"_meta": {**kept, LOADING: dict(saved)} if saved is not None else kept}


def _save(index: Index, saved: Mapping[str, Any] | None, *, patient: bool = False) -> Operation[None]:
    body = with_saved_settings(index.meta, saved)
    yield from ask(lambda client: client.indices.put_mapping(index=index.name, body=body), patient=patient)


def _put_settings(name: str, settings: Mapping[str, Any], *, patient: bool = False) -> Operation[None]:
    yield from ask(lambda client: client.indices.put_settings(index=name, body=dict(settings)), patient=patient)


def _load_settings(index: Index, previous: Mapping[str, Any]) -> Operation[Mapping[str, Any]]:
    """Without replicas while the index is first filled: copying a filled one again would cost more than it saves."""
    answer = yield from ask(lambda client: client.count(index=index.name), lambda answer: check_whole(answer, index.name))
    interrupted = index.settings.get("index.number_of_replicas") != previous["index.number_of_replicas"]
    return LOAD_SETTINGS_EMPTY if interrupted or not answer["count"] else LOAD_SETTINGS


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
