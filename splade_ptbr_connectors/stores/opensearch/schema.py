"""The index: found, created, adopted, put under an alias, and the settings that are tuned during a bulk load."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import ConfigError, StoreError, StoreFormatError, StoreNotFoundError
from ..calls import Operation
from ..model_stamp import ModelStamp, StoreDescription
from ..remote import Operations
from ..settings import as_stored
from .client import ask, detect
from .settings import OpenSearchSettings
from .wire import FACET_SCHEME, FACETS, HEAD, PASSAGE, PASSAGES, SPARSE, TENANT, FeatureLayout

ENGINE = "opensearch"
META, LOADING = "splade", "splade_loading"  # within the mapping's _meta
MAX_NAME_BYTES = 255
MAX_SPARSE_VECTOR_TERMS = 32_768  # the server folds term ids beyond this onto others
LOAD_SETTINGS: Mapping[str, Any] = {"index.refresh_interval": "-1"}
LOAD_SETTINGS_EMPTY: Mapping[str, Any] = {**LOAD_SETTINGS, "index.number_of_replicas": "0"}
_FORBIDDEN = re.compile(r'[\\/*?"<>| ,#:]|[\x00-\x1f\x7f\ud800-\udfff]')


@dataclass(frozen=True)
class Index:
    """An index as the server describes it.

    Attributes:
        name: of the index itself, also when it was found by an alias.
        write_alias: an alias of this index that no other can have, None if it is yet to be made. A bulk request to it can neither
            create an index nor write to another one that has taken the name.
        description: None when the index says nothing about its origin.
        facet_scheme: which terms a payload is kept as; None: no dates and nothing that says that a field exists.
        saved_settings: settings from before a bulk load that has not ended, or was cut off.
    """

    name: str
    uuid: str
    write_alias: str | None
    field_type: str
    layout: FeatureLayout
    description: StoreDescription | None
    meta: Mapping[str, Any]
    settings: Mapping[str, Any]
    aliases: tuple[str, ...] = ()
    saved_settings: Mapping[str, Any] | None = None
    weight_ceiling: float | None = None
    facet_scheme: str | None = None


def check_name(name: str) -> str:
    """Return a usable index name, or raise ConfigError: the rules of OpenSearch, so that nothing is sent for a bad one."""
    wrong = _FORBIDDEN.search(name)
    if wrong:
        raise ConfigError(f"index name {name!r} holds {wrong[0]!r}: leave it out.")
    if name != name.lower():
        raise ConfigError(f"index name {name!r} has capital letters: write it as {name.lower()!r}.")
    if not name or name[0] in "-_+.":
        raise ConfigError(f"index name {name!r} is not accepted: it must begin with a letter or digit.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(f"index name {name[:40]!r}... has {len(name.encode())} bytes: at most {MAX_NAME_BYTES} are accepted.")
    return name


def write_alias_name(index: str, identity: str) -> str:
    """The write alias of an index; begins like its name, so that permissions by name pattern cover it.

    Args:
        identity: the store id, or for an index that has none the uuid that the server gave it.
    """
    ending = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()  # a uuid has capital letters, an alias may not
    room = MAX_NAME_BYTES - len(ending) - 1
    return f"{index.encode()[:room].decode(errors='ignore')}-{ending}"


def creation(description: StoreDescription, settings: OpenSearchSettings, name: str) -> dict[str, Any]:
    """The body that creates an index."""
    of_index: dict[str, Any] = {"index.number_of_shards": settings.shards}
    if settings.replicas is not None:
        of_index["index.number_of_replicas"] = settings.replicas
    if settings.field_type == "sparse_vector":
        of_index["index.sparse"] = True
    return {
        "settings": of_index,
        "mappings": {
            "dynamic": "strict",
            "_meta": {META: described(description, settings.layout, FACET_SCHEME)},
            "properties": _properties(settings, description.model.vocab_size) | (_PASSAGES if description.passages is not None else {}),
        },
        "aliases": {write_alias_name(name, description.store_id): {"is_hidden": True}},
    }


def described(description: StoreDescription, layout: FeatureLayout, facet_scheme: str | None) -> dict[str, Any]:
    """What `_meta` says about the origin of the vectors, and about what payloads are kept as."""
    kept = {} if facet_scheme is None else {"facet_scheme": facet_scheme}
    return {**description.to_mapping(), "feature_scheme": layout.scheme, **kept}


def lasting_settings(settings: OpenSearchSettings) -> dict[str, Any]:
    """Those settings that an index keeps for good."""
    kept: dict[str, Any] = {"field_type": settings.field_type, "terms_per_field": settings.layout.terms_per_field}
    if settings.field_type == "sparse_vector":
        kept["weight_ceiling"] = settings.weight_ceiling
    return kept


_PASSAGES: dict[str, Any] = {  # where documents may have several
    HEAD: {"type": "keyword", "doc_values": False},
    PASSAGE: {"type": "keyword", "index": False},
    PASSAGES: {"type": "object", "enabled": False},
    "at": {"type": "long", "index": False, "doc_values": False},
}


def _properties(settings: OpenSearchSettings, vocab_size: int) -> dict[str, Any]:
    return {
        SPARSE: settings.layout.mapping(vocab_size, _sparse_field(settings)),
        "doc_id": {"type": "keyword"},
        TENANT: {"type": "keyword"},
        "hash": {"type": "keyword", "index": False, "doc_values": False},
        "n_terms": {"type": "integer"},
        FACETS: {"type": "keyword", "doc_values": False},
        "payload": {"type": "object", "enabled": False},
    }


def _sparse_field(settings: OpenSearchSettings) -> dict[str, Any]:
    if settings.field_type == "rank_features":
        return {"type": "rank_features"}
    ceilings = {"quantization_ceiling_ingest": settings.weight_ceiling, "quantization_ceiling_search": settings.weight_ceiling}
    return {"type": "sparse_vector", "method": {"name": "seismic", "parameters": ceilings}}


# -- reading what is there -------------------------------------------------------------------------------------------


def read_index(answer: Mapping[str, Any], wanted: str) -> Index:
    """The index out of the answer to GET /NAME?flat_settings.

    Raises:
        StoreFormatError: an alias of several indices, a mapping of another kind, a description that cannot be read.
    """
    if len(answer) != 1:
        raise StoreFormatError(f"{wanted!r} is an alias of {len(answer)} indices ({', '.join(sorted(answer))}): name one of them.")
    name, found = next(iter(answer.items()))
    mapping = found.get("mappings") or {}
    meta = mapping.get("_meta") or {}
    properties = mapping.get("properties") or {}
    _check_properties(name, properties)
    description, layout = _description(name, meta, properties[SPARSE])
    aliases = tuple(found.get("aliases") or ())
    settings = found.get("settings") or {}
    uuid = str(settings.get("index.uuid", ""))
    write_alias = write_alias_name(name, description.store_id if description else uuid)
    return Index(
        name=name,
        uuid=uuid,
        write_alias=write_alias if write_alias in aliases else None,
        field_type="sparse_vector" if properties[SPARSE].get("type") == "sparse_vector" else "rank_features",
        layout=layout,
        description=description,
        meta=meta,
        settings=settings,
        aliases=tuple(sorted(set(aliases) - {write_alias})),
        saved_settings=meta.get(LOADING),
        weight_ceiling=(description.settings if description else {}).get("weight_ceiling"),
        facet_scheme=(meta.get(META) or {}).get("facet_scheme"),
    )


def _description(name: str, meta: Mapping[str, Any], sparse: Mapping[str, Any]) -> tuple[StoreDescription | None, FeatureLayout]:
    raw = meta.get(META)
    if raw is None:
        return None, FeatureLayout.of_mapping(sparse)
    where = f"_meta.{META} of the index {name!r}"
    description = StoreDescription.from_mapping(raw, where=where, engine=ENGINE)
    return description, FeatureLayout.of_scheme(raw.get("feature_scheme"), where)


def _check_properties(name: str, found: Mapping[str, Any]) -> None:
    for wanted, types in _EXPECTED.items():
        kind = _kind(found.get(wanted))
        if kind not in types:
            raise StoreFormatError(
                f"the index {name!r} has {kind} as its field {wanted!r} where a store has {' or '.join(types)}: it was not made by this "
                "package; give another name, or copy its documents over with ingest."
            )


_EXPECTED: Mapping[str, tuple[str, ...]] = {
    SPARSE: ("rank_features", "sparse_vector", "rank_features in parts"),
    "doc_id": ("keyword",),
    TENANT: ("keyword",),
    "hash": ("keyword",),
    "n_terms": ("integer",),
    FACETS: ("keyword",),
    "payload": ("object (enabled: false)",),
}


def _kind(property: Any) -> str:
    if not isinstance(property, Mapping):
        return "nothing"
    parts = property.get("properties") or {}
    if parts and all(name.isdigit() and part.get("type") == "rank_features" for name, part in parts.items()):
        return "rank_features in parts"
    kind = str(property.get("type", "object"))
    return f"{kind} (enabled: false)" if property.get("enabled") is False else kind


def fixed_settings(index: Index, asked: OpenSearchSettings) -> dict[str, Any]:
    """The settings that an index has fixed. Raises StoreFormatError when it cannot be searched as it is asked for."""
    if asked.query == "neural_sparse" and index.layout.terms_per_field:
        raise StoreFormatError(
            f"the index {index.name!r} keeps its terms in several fields, neural_sparse searches one: leave the setting query out, or "
            "ingest into a new index with terms_per_field=0."
        )
    fixed: dict[str, Any] = {"field_type": index.field_type, "terms_per_field": index.layout.terms_per_field}
    return fixed if index.weight_ceiling is None else {**fixed, "weight_ceiling": index.weight_ceiling}


# -- operations ------------------------------------------------------------------------------------------------------


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
    answer = yield from ask(lambda client: client.count(index=index.name))
    interrupted = index.settings.get("index.number_of_replicas") != previous["index.number_of_replicas"]
    return LOAD_SETTINGS_EMPTY if interrupted or not answer.get("count") else LOAD_SETTINGS


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
