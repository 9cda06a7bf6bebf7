"""A collection: created, described in its own metadata, and checked to be what it is taken for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from qdrant_client import models
from qdrant_client.http import api_client

from ...errors import ConfigError, StoreFormatError
from ..binding import ModelStamp
from ..calls import Call, Operation
from ..description import StoreDescription
from ..payloads import TENANT_FIELD
from ..settings import as_stored
from .failures import CollectionExistsError
from .layouts import LAYOUTS
from .settings import QdrantSettings

ENGINE = "qdrant"
FIRST_VERSION = (1, 16)  # collection metadata
MAX_NAME_BYTES = 255  # of a folder's name, which it becomes
QUOTES_NAMES = hasattr(api_client, "quote_path_params")  # before 1.20 the client put a name into its address as it was
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_DISTANCES = {"dot": models.Distance.DOT, "cosine": models.Distance.COSINE, "euclid": models.Distance.EUCLID}


def check_name(name: str) -> str:
    """Return a name that Qdrant accepts for a collection, or raise ConfigError."""
    if not name.strip() or _FORBIDDEN.search(name) or name in (".", ".."):
        raise ConfigError(f'collection name {name!r:.80} is not accepted: it must not be blank, nor hold <>:"/\\|?* or control characters.')
    astray = next((character for character in "#%" if character in name), None)
    if astray is not None and not QUOTES_NAMES:
        raise ConfigError(
            f"collection name {name!r:.80} holds {astray!r}, with which this version of qdrant-client would reach another collection: "
            "upgrade it to 1.20 or later."
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(f"collection name {name[:40]!r}... has {len(name.encode())} bytes: at most {MAX_NAME_BYTES} are accepted.")
    return name


def create(collection: str, settings: QdrantSettings, model: ModelStamp, url: str, *, indexed: bool) -> Operation[None]:
    """Make the collection, unless somebody else has meanwhile.

    Args:
        indexed: also make the index by tenant (local mode has no indexes).

    Raises:
        ConfigError: in this layout nothing can be created.
        StoreFormatError: the server is too old to keep a description.
    """
    if not LAYOUTS[settings.layout].writable:
        raise ConfigError(f"there is no store at {url}, and none can be created in the layout {settings.layout!r}: check the address.")
    _check_version((yield Call("info")).version, url)
    try:
        yield Call("create_collection", _creation(collection, settings, model))
    except CollectionExistsError:  # by another process, or by an attempt of ours whose answer was lost: checked next
        pass
    if indexed:
        yield from create_tenant_index(collection)


def create_tenant_index(collection: str) -> Operation[None]:
    """Index the tenant, so that each tenant's documents lie together."""
    schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    yield Call("create_payload_index", {"collection_name": collection, "field_name": TENANT_FIELD, "field_schema": schema, "wait": True})


def has_tenant_index(info: models.CollectionInfo) -> bool:
    """Whether the tenant is indexed."""
    return TENANT_FIELD in (info.payload_schema or {})


def describe(info: models.CollectionInfo, collection: str) -> StoreDescription | None:
    """What the collection says about itself, None if nothing. Raises StoreFormatError."""
    metadata = info.config.metadata
    if not metadata or "fingerprint" not in metadata:
        return None
    return StoreDescription.from_mapping(metadata, where=f"the metadata of the collection {collection!r}", engine=ENGINE)


def settled(
    info: models.CollectionInfo, settings: QdrantSettings, given: Collection[str], description: StoreDescription | None, url: str
) -> QdrantSettings:
    """The settings with what the collection really has.

    Args:
        given: names of the settings that were asked for.

    Raises:
        StoreFormatError: no such sparse vector, the modifier IDF, or another setting than was asked for.
    """
    layout = str(description.settings.get("layout", settings.layout)) if description else settings.layout
    settings = as_stored(settings, given, {"layout": layout}, url)
    sparse = info.config.params.sparse_vectors or {}
    name = _sparse_name(sparse, settings, description, url)
    _check_modifier(sparse[name], name, settings, url)
    actual = {"vector": name, **_index_settings(sparse[name]), **_dense_settings(info, settings, given, url)}
    return as_stored(settings, given, actual, url)


def adoption(collection: str, description: StoreDescription) -> Call:
    """The call that writes a description into a collection."""
    return Call("update_collection", {"collection_name": collection, "metadata": description.to_mapping()})


def _creation(collection: str, settings: QdrantSettings, model: ModelStamp) -> dict[str, Any]:
    name = settings.vector or LAYOUTS[settings.layout].vectors[0]
    index = models.SparseIndexParams(on_disk=settings.on_disk, datatype=models.Datatype(settings.datatype))
    dense = models.VectorParams(size=settings.dense_size or 1, distance=_DISTANCES[settings.dense_distance])
    return {
        "collection_name": collection,
        "vectors_config": {settings.dense_vector: dense} if settings.dense_size else {},
        "sparse_vectors_config": {name: models.SparseVectorParams(index=index)},
        "shard_number": settings.shards,
        "replication_factor": settings.replication_factor,
        "metadata": StoreDescription(ENGINE, model, replace(settings, vector=name).shaping()).to_mapping(),
    }


def _check_version(version: str, url: str) -> None:
    parts = [int(part) for part in re.findall(r"\d+", version)[:2]]
    if len(parts) == 2 and tuple(parts) < FIRST_VERSION:
        raise StoreFormatError(f"the server of {url} is Qdrant {version}: a store needs {'.'.join(map(str, FIRST_VERSION))} or later.")


def _sparse_name(sparse: Mapping[str, Any], settings: QdrantSettings, description: StoreDescription | None, url: str) -> str:
    stored = description.settings.get("vector") if description else None
    wanted = [settings.vector] if settings.vector else [str(stored)] if stored else LAYOUTS[settings.layout].vectors
    found = next((name for name in wanted if name in sparse), None)
    if found is None:
        there = ", ".join(map(repr, sparse)) or "none"
        raise StoreFormatError(
            f"the collection of {url} has no sparse vector {' or '.join(map(repr, wanted))} (there: {there}): name it by the "
            "setting vector, or choose the layout."
        )
    return found


def _check_modifier(parameters: models.SparseVectorParams, name: str, settings: QdrantSettings, url: str) -> None:
    if parameters.modifier == models.Modifier.IDF and not settings.allow_idf:
        raise StoreFormatError(
            f"the sparse vector {name!r} of {url} has the modifier IDF, which multiplies the weights of a query and is wrong for learned "
            "weights: ingest into a new store (the setting allow_idf opens it all the same)."
        )


def _index_settings(parameters: models.SparseVectorParams) -> dict[str, Any]:
    index = parameters.index
    datatype = index.datatype if index and index.datatype else models.Datatype.FLOAT32
    cold = getattr(index, "memory", None) == "cold"  # how later servers say on_disk
    return {"datatype": datatype.value, "on_disk": cold or bool(index and index.on_disk)}


def _dense_settings(info: models.CollectionInfo, settings: QdrantSettings, given: Collection[str], url: str) -> dict[str, Any]:
    vectors = info.config.params.vectors
    dense = vectors.get(settings.dense_vector) if isinstance(vectors, Mapping) else None
    if dense is None:
        if "dense_vector" in given and isinstance(vectors, Mapping):
            there = ", ".join(vectors) or "none"
            raise StoreFormatError(f"the collection of {url} has no dense vector {settings.dense_vector!r} (there: {there}).")
        return {"dense_size": None}
    distance = next((name for name, value in _DISTANCES.items() if value == dense.distance), None)
    return {"dense_size": dense.size} if distance is None else {"dense_size": dense.size, "dense_distance": distance}
