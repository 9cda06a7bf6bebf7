"""What an index says of itself: its name, the mapping that it is created with, and an Index out of the server's answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, StoreFormatError
from ..model_stamp import StoreDescription
from .settings import OpenSearchSettings
from .wire import FACET_SCHEME, FACETS, HEAD, PASSAGE, PASSAGES, SPARSE, TENANT, FeatureLayout

ENGINE = "opensearch"
META, LOADING = "splade", "splade_loading"  # within the mapping's _meta
MAX_NAME_BYTES = 255
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
