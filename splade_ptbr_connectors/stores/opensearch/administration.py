"""Aliases that move from one index to another, and indices of unknown origin that are given a description."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...errors import ConfigError, StoreFormatError, StoreNotFoundError
from ..binding import ModelStamp
from ..calls import Call, Operation
from ..description import StoreDescription
from .bulk import index_gone
from .index import ENGINE, META, Index, described, stored_settings
from .opening import ensure_guard, find
from .settings import OpenSearchSettings


def point_alias(alias: str, index: str) -> Operation[str | None]:
    """Let an alias point to an index, in one step. Returns the index that it pointed to before.

    Raises:
        ConfigError: an index has this name.
        StoreFormatError: it is an alias of several indices.
    """
    found = yield from _indices_of(alias)
    if alias in found:
        raise ConfigError(f"{alias!r} is an index and cannot be an alias: choose another name.")
    if len(found) > 1:
        raise StoreFormatError(f"{alias!r} is an alias of {len(found)} indices ({', '.join(found)}): remove it first.")
    before = found[0] if found else None
    actions: list[dict[str, Any]] = [{"add": {"index": index, "alias": alias}}]
    if before is not None and before != index:
        actions.insert(0, {"remove": {"index": before, "alias": alias, "must_exist": True}})
    yield Call("indices.update_aliases", {"body": {"actions": actions}})
    return before


def _indices_of(alias: str) -> Operation[list[str]]:
    try:
        return sorted((yield Call("indices.get", {"index": alias})))
    except StoreNotFoundError:
        return []


def adopt(name: str, model: ModelStamp, settings: OpenSearchSettings, url: str) -> Operation[Index]:
    """Describe an index that says nothing about its origin. Returns it as it then is."""
    index = yield from find(name)
    if index is None:
        raise index_gone(name)
    if index.description is not None:
        raise ConfigError(f"the store {url} already says that {index.description.model} filled it: there is nothing to adopt.")
    description = StoreDescription(ENGINE, model, stored_settings(settings))
    yield Call("indices.put_mapping", {"index": index.name, "body": {"_meta": {**index.meta, META: described(description, index.layout)}}})
    adopted = dataclasses.replace(index, description=description, guard=None)
    return dataclasses.replace(adopted, guard=(yield from ensure_guard(adopted)))
