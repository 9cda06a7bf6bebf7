"""Fingerprints of folders that use no newer setting stay what they were: stores are bound to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.folder import ModelFolder

# computed with version 0.1.0, before pool_special_tokens and separate query networks existed
PLAIN = "b8928a2529a2840abc8121e4bfabde6a76ae31f3308a164db1c58e81cafc8c4a"
TABLE = "235bc56a59e73a20ffac4d4a6f0f20351472d11b0b0a1a1e72f33678a212379d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "table.safetensors").write_bytes(b"table")
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "model.safetensors").write_bytes(b"query weights")
    return tmp_path


def of(folder: Path, **settings: object) -> str:
    config = EncoderConfig.checked({"vocab_size": 100} | settings, "")
    return ModelFolder("x", folder, config).fingerprint("{}", on_long="windows")


def test_a_plain_folder(folder: Path) -> None:
    assert of(folder) == of(folder, pool_special_tokens=True) == PLAIN


def test_a_folder_with_a_table_and_a_lexical_channel(folder: Path) -> None:
    settings = {
        "query": {"kind": "table", "file": "table.safetensors"},
        "lexical": {"average_length": 9.0},
        "text": {"lowercase": True},
        "min_weight_document": 0.1,
    }
    assert of(folder, **settings) == TABLE


def test_each_newer_setting_has_a_fingerprint_of_its_own(folder: Path) -> None:
    found = [of(folder), of(folder, pool_special_tokens=False), of(folder, query={"kind": "separate"})]
    (folder / "query" / "model.safetensors").write_bytes(b"other query weights")
    assert len({*found, of(folder, query={"kind": "separate"})}) == 4


def test_a_graph_of_the_same_weights_keeps_the_fingerprint(folder: Path) -> None:
    graph = {"sha256": "graph", "source_sha256": "weights"}
    expected = of(folder, query={"kind": "separate"})
    assert of(folder, query={"kind": "separate", "onnx": graph}, onnx=graph) == expected


def test_the_settings_file_of_a_plain_folder_has_no_newer_key(tmp_path: Path) -> None:
    """So that earlier versions of this package, which know no such key, still read it."""
    config = EncoderConfig(vocab_size=100)
    config.write(tmp_path)
    written = json.loads((tmp_path / "splade.json").read_text(encoding="utf-8"))
    assert "pool_special_tokens" not in written
    assert written["query"] == {"kind": "same", "file": None}
    assert EncoderConfig.read(tmp_path) == config


@pytest.mark.parametrize("settings", [{"pool_special_tokens": False}, {"query": {"kind": "separate"}}])
def test_newer_settings_are_written_and_read_again(tmp_path: Path, settings: dict) -> None:
    config = EncoderConfig.checked({"vocab_size": 100} | settings, "")
    config.write(tmp_path)
    assert EncoderConfig.read(tmp_path) == config
