"""JSON of files: read as the library reads it, and never an end of the interpreter's stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.errors import IngestError, InputFileError, ModelFormatError, SpladeConnectorsError, StoreFormatError
from splade_ptbr_connectors.ingestion.checkpoint import FORMAT, Checkpoint, RunIdentity
from splade_ptbr_connectors.ingestion.dead_letter import DeadLetter
from splade_ptbr_connectors.ingestion.reindex import _ReindexState
from splade_ptbr_connectors.interchange.manifest import manifest_path, read_manifest
from splade_ptbr_connectors.json_values import MAX_FILE_DEPTH, parse_json
from splade_ptbr_connectors.stores.model_stamp import FILE_NAME, read_sidecar

DEPTHS = [MAX_FILE_DEPTH + 1, 900, 990, 5000, 100_000]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@given(values)
def test_documents_are_read_as_the_library_reads_them(value: Any) -> None:
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text) == value


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("depth", DEPTHS)
def test_nesting_has_an_end(opening: str, closing: str, depth: int) -> None:
    inner = "1" if ":" in opening else ""
    with pytest.raises(ValueError, match="nested more than 100 levels"):
        parse_json(opening * depth + inner + closing * depth)
    assert parse_json(nested(MAX_FILE_DEPTH))


@pytest.mark.parametrize("text", ["", "{", "nul", "1" * 5000, b"\xff"])
def test_whatever_is_no_json_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


RUN = RunIdentity("m", "f", "s", "i")
READERS: dict[str, tuple[str, type[SpladeConnectorsError], Callable[[Path], Any]]] = {
    "settings of a model": ("splade.json", ModelFormatError, lambda path: find_model(path.parent)),
    "a network's config": ("config.json", ModelFormatError, lambda path: find_model(path.parent)),
    "modules of a model": ("modules.json", ModelFormatError, lambda path: find_model(path.parent)),
    "a sidecar": (FILE_NAME, StoreFormatError, lambda path: read_sidecar(path.parent, "edge")),
    "a checkpoint": ("c", IngestError, lambda path: Checkpoint(path, RUN, {}).resume_point(restart=False)),
    "a dead-letter file": ("d", IngestError, DeadLetter),
    "the state of a re-index": ("r", IngestError, lambda path: _ReindexState(path, "qdrant+http://h/a")._read()),
    "a manifest": ("m.manifest", InputFileError, lambda path: read_manifest(path.with_name("m"), "ciff", [])),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("reader", READERS)
def test_every_file_that_is_nested_too_deeply_is_a_typed_error(reader: str, depth: int, tmp_path: Path) -> None:
    name, kind, read = READERS[reader]
    path = tmp_path / name
    for text in (nested(depth), '{"vocab_size": 5, "format": ' + nested(depth) + "}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(kind) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600
    assert path.read_text(encoding="utf-8") == text


def test_manifests_lie_where_the_reader_looks(tmp_path: Path) -> None:
    assert manifest_path(tmp_path / "m") == tmp_path / "m.manifest"


@pytest.mark.parametrize(
    "change",
    [
        {"position": "3"},
        {"position": -1},
        {"position": True},
        {"prefix": 5},
        {"dead_letter_bytes": None},
        {"dead_letter_bytes": 1.5},
        {"counts": {"written": "1"}},
        {"counts": {"reasons": []}},
        {"counts": {"reasons": {"a": "b"}}},
        {"counts": []},
        {"run": {"model": "m", "fingerprint": 7, "store": "s", "store_id": "i"}},
        {"run": {"model": ["m"], "fingerprint": "f", "store": "s", "store_id": "i"}},
        {"run": "m"},
    ],
    ids=str,
)
def test_a_checkpoint_with_values_of_another_type_is_damaged(change: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", RUN, {})
    good = {"run": vars(RUN), "position": 1, "prefix": "p", "counts": {"written": 1}, "dead_letter_bytes": 0, "format": FORMAT}
    checkpoint.path.write_text(json.dumps(good), encoding="utf-8")  # type: ignore[union-attr]
    assert checkpoint.resume_point(restart=False).position == 1
    checkpoint.path.write_text(json.dumps(good | change), encoding="utf-8")  # type: ignore[union-attr]
    with pytest.raises(IngestError, match="is damaged"):
        checkpoint.resume_point(restart=False)
