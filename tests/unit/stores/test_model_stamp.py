"""A store's description of itself goes through JSON unchanged, and what is not one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, StoreFormatError
from splade_ptbr_connectors.stores import model_stamp
from splade_ptbr_connectors.stores.model_stamp import ModelStamp, StoreDescription, UnknownOriginWarning, warn_unknown_origin
from tests.support.encoders import HashingEncoder

scalars = st.text() | st.integers(-(2**53), 2**53) | st.booleans()
mappings = st.dictionaries(st.text(), scalars, max_size=3)
stamps = st.builds(ModelStamp, st.text(), st.text(), st.integers(1, 10**6), mappings)


@given(stamps, mappings)
def test_what_is_written_is_read(stamp: ModelStamp, settings: dict[str, Any]) -> None:
    written = StoreDescription("qdrant", stamp, settings)
    read = StoreDescription.from_mapping(json.loads(json.dumps(written.to_mapping())), where="here", engine="qdrant")
    assert read == written


def test_only_a_store_that_splits_texts_is_closed_to_readers_that_know_no_passages() -> None:
    """They would count passages as documents, and lose some of a document that they replace."""
    stamp, passages = ModelStamp.of(HashingEncoder()), {"passage_tokens": 200}
    for engine in ("qdrant", "opensearch", "edge", "numba"):
        assert StoreDescription(engine, stamp, {}).to_mapping()["format_version"] == 1
        described = StoreDescription(engine, stamp, {}, passages=passages).to_mapping()
        assert described["format_version"] == 2
        earlier = {**described, "format_version": 1}
        assert StoreDescription.from_mapping(earlier, where="here", engine=engine).passages == passages


def test_every_store_has_an_id_of_its_own() -> None:
    stamp = ModelStamp.of(HashingEncoder())
    assert StoreDescription("qdrant", stamp, {}).store_id != StoreDescription("qdrant", stamp, {}).store_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "format version 3, this package reads up to 2: upgrade"),
        ({"format_version": None}, "here is not the description of a store"),
        ({"format_version": True}, "here is not the description of a store"),
        ({"format_version": 0}, "here is not the description of a store"),
        ({"engine": "edge"}, "a store of the engine 'edge', not 'qdrant'"),
        ({"store_id": None}, "lacks a valid 'store_id'"),
        ({"load_arguments": []}, "lacks a valid 'load_arguments'"),
        ({"settings": None}, "lacks a valid 'settings'"),
    ],
)
def test_what_is_no_description(change: dict[str, Any], message: str) -> None:
    written = StoreDescription("qdrant", ModelStamp.of(HashingEncoder()), {}).to_mapping()
    with pytest.raises(StoreFormatError, match=message):
        StoreDescription.from_mapping({**written, **change}, where="here", engine="qdrant")


@pytest.mark.parametrize("raw", [None, [], "x", 3, {}])
def test_what_is_not_even_a_mapping(raw: Any) -> None:
    with pytest.raises(StoreFormatError, match="is not the description"):
        StoreDescription.from_mapping(raw, where="here", engine="qdrant")


def test_a_collection_of_unknown_origin_is_warned_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_stamp, "_WARNED", set())
    with pytest.raises(ConfigError, match="does not say which model filled it: name it yourself"):
        warn_unknown_origin(None, "a")
    with pytest.warns(UnknownOriginWarning, match="the store a does not say"):
        warn_unknown_origin("mini", "a")
    warn_unknown_origin("mini", "a")  # a second warning would be an error here
    with pytest.warns(UnknownOriginWarning, match="the store b"):
        warn_unknown_origin(HashingEncoder(), "b")
