"""The collection: found, created, described in its own metadata, adopted, and put under an alias."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from qdrant_client import models
from qdrant_client.http import api_client

from ...errors import ConfigError, StoreAccessError, StoreFormatError, StoreWriteError
from ..calls import Operation
from ..model_stamp import ModelStamp, StoreDescription
from ..payloads import NUMBER_PATH, TENANT_FIELD
from ..remote import Operations
from ..settings import OpenOptions, as_stored
from .client import ask
from .failures import CollectionExistsError
from .settings import QdrantSettings
from .wire import LAYOUTS, Shape

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
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


# -- operations ------------------------------------------------------------------------------------------------------


class Schema(Operations):
    """The operations on the collection as such.

    Attributes:
        settings: as asked for, from open() on with those that the collection has fixed.
        found: what the server says of the collection, as of the last look.
        shape: how its points are laid out.
        met_passages: documents of several passages were written through this store.
    """

    engine: ClassVar[str] = ENGINE
    found: models.CollectionInfo
    shape: Shape

    def __init__(self, url: str, collection: str, settings: QdrantSettings, tenant: str | None = None, *, has_indexes: bool = True) -> None:
        """`has_indexes` is False in local mode, which has no indexes of payloads."""
        super().__init__(url, check_name(collection), tenant)
        self.settings = settings
        self.met_passages = False
        self._has_indexes = has_indexes

    def open(self, options: OpenOptions) -> Operation[Encoder]:
        self.collection = yield from self._resolved()
        encoder = yield from super().open(options)
        if self.tenant is not None:
            yield from self._ensure_tenant_index()
        return encoder

    def _resolved(self) -> Operation[str]:
        """The collection that an alias means now; a name that is not an alias, or where the key may not ask, as it is."""
        try:
            aliases = yield from self._aliases()
        except StoreAccessError:
            return self.collection
        return aliases.get(self.collection, self.collection)

    def _aliases(self) -> Operation[dict[str, str]]:
        answer = yield from ask(lambda client: client.get_aliases())
        return {found.alias_name: found.collection_name for found in answer.aliases}

    def look(self) -> Operation[None]:
        self.found = yield from ask(lambda client: client.get_collection(self.collection))
        metadata = self.found.config.metadata
        if metadata and "fingerprint" in metadata:
            where = f"the metadata of the collection {self.collection!r}"
            self.description = StoreDescription.from_mapping(metadata, where=where, engine=ENGINE)

    def check_creation(self, options: OpenOptions) -> None:
        layout = self.settings.layout
        if not LAYOUTS[layout].writable:
            raise ConfigError(f"there is no store at {self.url}, and none can be created in the layout {layout!r}: check the address.")
        if options.passages and not LAYOUTS[layout].passages:
            asked = options.passages if options.passages is True else dict(options.passages)
            raise ConfigError(
                f"there is no store at {self.url}, and a new one in the layout {layout!r} keeps whole documents only, not "
                f"passages={asked}: say passages=False, or leave the layout out."
            )

    def create(self, model: ModelStamp) -> Operation[None]:
        """Raises StoreFormatError where the server is too old to keep a description."""
        _check_version((yield from ask(lambda client: client.info())).version, self.url)
        if not LAYOUTS[self.settings.layout].passages:
            self.passages = None
        arguments = _creation(self.settings, StoreDescription(ENGINE, model, {}, passages=self.passages))
        try:
            yield from ask(lambda client: client.create_collection(self.collection, **arguments))
        except CollectionExistsError:  # by another process, or by an attempt of ours whose answer was lost: checked next
            pass
        if self._has_indexes:
            yield from self._create_tenant_index()
            if self.passages is not None:
                yield from self._create_passage_index()
        yield from self.look()

    def settle(self) -> None:
        settings = self.settings = settled(self.found, self.settings, self.description, self.url)
        names = {"vector": settings.vector or "", "dense_vector": settings.dense_vector}
        self.shape = Shape(
            layout=LAYOUTS[settings.layout], datatype=settings.datatype, dense_size=settings.dense_size, tenant=self.tenant, **names
        )

    @property
    def holds_passages(self) -> bool:
        """Whether there may be documents of several passages: none were when the collection was opened, nor written since, if not."""
        return self.keeps_passages and (self.met_passages or _passages_indexed(self.found) != 0)

    def stored_settings(self) -> dict[str, Any]:
        return self.settings.shaping()

    def describe(self, description: StoreDescription) -> Operation[None]:
        yield from ask(lambda client: client.update_collection(self.collection, metadata=description.to_mapping()))
        self.description = description

    def point_alias(self, alias: str) -> Operation[str | None]:
        check_name(alias)
        answer = yield from ask(lambda client: client.get_collections())
        if alias in [found.name for found in answer.collections]:
            raise ConfigError(
                f"{alias!r} is a collection, not an alias: choose another name for the alias, or delete the collection first."
            )
        before = (yield from self._aliases()).get(alias)
        steps: list[Any] = [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=self.collection, alias_name=alias))]
        if before is not None:
            steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        yield from ask(lambda client: client.update_collection_aliases(change_aliases_operations=steps))
        return before

    def info(self) -> Operation[dict[str, Any]]:
        server = yield from ask(lambda client: client.info())
        yield from self.look()
        parameters = self.found.config.params
        return {
            "version": server.version,
            "collection": self.collection,
            "status": str(self.found.status),
            "optimizer": optimizer_status(self.found),
            "shards": parameters.shard_number,
            "replication_factor": parameters.replication_factor,
            "tenant_index": has_tenant_index(self.found),
            "settings": self.settings.shaping(),
        }

    def _ensure_tenant_index(self) -> Operation[None]:
        """Index the tenant unless it is indexed; a key that may only read, or a server that is locked, is not an error."""
        if not self._has_indexes or has_tenant_index(self.found):
            return
        try:
            yield from self._create_tenant_index()
        except (StoreAccessError, StoreWriteError) as error:
            logger.warning("%s: no index by tenant, and none could be made (%s); filtering is slower", self.url, error)

    def _create_tenant_index(self) -> Operation[None]:
        """Index the tenant, so that each tenant's documents lie together."""
        schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        yield from ask(lambda client: client.create_payload_index(self.collection, TENANT_FIELD, field_schema=schema, wait=True))

    def _create_passage_index(self) -> Operation[None]:
        """Index what tells further passages from documents, which are counted without them."""
        schema = models.PayloadSchemaType.INTEGER
        yield from ask(lambda client: client.create_payload_index(self.collection, NUMBER_PATH, field_schema=schema, wait=True))


def _passages_indexed(info: models.CollectionInfo) -> int | None:
    """How many further passages the index knows; None: there is no index."""
    index = (info.payload_schema or {}).get(NUMBER_PATH)
    return None if index is None else index.points


def has_tenant_index(info: models.CollectionInfo) -> bool:
    """Whether the tenant is indexed."""
    return TENANT_FIELD in (info.payload_schema or {})


def optimizer_status(info: models.CollectionInfo) -> str:
    """In words; an error with its message."""
    status = info.optimizer_status
    return f"error: {status.error}" if isinstance(status, models.OptimizersStatusOneOf1) else str(status)


def _creation(settings: QdrantSettings, description: StoreDescription) -> dict[str, Any]:
    name = settings.vector or LAYOUTS[settings.layout].vectors[0]
    index = models.SparseIndexParams(on_disk=settings.on_disk, datatype=models.Datatype(settings.datatype))
    dense = models.VectorParams(size=settings.dense_size or 1, distance=_DISTANCES[settings.dense_distance])
    return {
        "vectors_config": {settings.dense_vector: dense} if settings.dense_size else {},
        "sparse_vectors_config": {name: models.SparseVectorParams(index=index)},
        "shard_number": settings.shards,
        "replication_factor": settings.replication_factor,
        "metadata": dataclasses.replace(description, settings={**settings.shaping(), "vector": name}).to_mapping(),
    }


# -- what is there -----------------------------------------------------------------------------------------------------


def settled(info: models.CollectionInfo, asked: QdrantSettings, description: StoreDescription | None, url: str) -> QdrantSettings:
    """The settings with what the collection really has.

    Raises:
        StoreFormatError: no such sparse vector, the modifier IDF, or another setting than was asked for.
    """
    layout = description.settings.get("layout", asked.layout) if description else asked.layout
    settings = as_stored(asked, {"layout": layout}, url)
    sparse = info.config.params.sparse_vectors or {}
    name = _sparse_name(sparse, settings, description, url)
    _check_modifier(sparse[name], name, settings, url)
    return as_stored(settings, {"vector": name, **_index_settings(sparse[name]), **_dense_settings(info, asked, url)}, url)


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


def _dense_settings(info: models.CollectionInfo, settings: QdrantSettings, url: str) -> dict[str, Any]:
    vectors = info.config.params.vectors
    dense = vectors.get(settings.dense_vector) if isinstance(vectors, Mapping) else None
    if dense is None:
        if "dense_vector" in settings.model_fields_set and isinstance(vectors, Mapping):
            there = ", ".join(vectors) or "none"
            raise StoreFormatError(f"the collection of {url} has no dense vector {settings.dense_vector!r} (there: {there}).")
        return {"dense_size": None}
    distance = next((name for name, value in _DISTANCES.items() if value == dense.distance), None)
    return {"dense_size": dense.size} if distance is None else {"dense_size": dense.size, "dense_distance": distance}
