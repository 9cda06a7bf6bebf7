"""splade-ptbr export onnx, on the tiny model with random weights."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from splade_ptbr_connectors.cli.main import run
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.folder import SHIPPED

from .conftest import Command, assert_fails


@pytest.mark.usefixtures("exported_once")
def test_the_exported_folder_encodes_as_the_model_does(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about itself
        assert run(["export", "onnx", str(tiny_model), "exportado", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    torch_side, onnx_side = SpladeEncoder.load(tiny_model, runtime="torch"), SpladeEncoder.load("exportado", runtime="onnx")
    assert document["out"] == "exportado" and document["fingerprint"] == onnx_side.fingerprint
    assert document["bytes"] == sum(path.stat().st_size for path in Path("exportado").rglob("*") if path.is_file())
    one, other = torch_side.encode_document("imposto de renda"), onnx_side.encode_document("imposto de renda")
    assert one.term_ids.tolist() == other.term_ids.tolist()
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-4)


def test_places_and_models_that_cannot_be_used(cli: Command, tmp_path: Path) -> None:
    assert_fails(cli("export", "onnx", "no/such/model", "fora"), 4, "no/such/model")
    assert_fails(cli("export", "onnx", "mini-bert", "fora", "--storage", "int4"), 2, "int4")
    assert not (tmp_path / "fora").exists()


@pytest.mark.parametrize(("model", "why"), [("mini", "is exported already"), ("mini-lexico", "has no network to export")])
def test_a_model_without_weights_for_torch_is_one_to_be_copied(cli: Command, model: str, why: str) -> None:
    failed = cli("export", "onnx", model, "fora")
    assert_fails(failed, 2, why, f"copy its folder {SHIPPED / model}")
    assert "runtime" not in failed.err.replace("onnxruntime", "")  # the command has no such option


def test_a_shipped_model_asks_for_no_extra_that_would_not_help(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert_fails(cli("export", "onnx", "mini", "fora"), 2, "is exported already")


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "torch"])
def test_the_extra_is_asked_for_before_the_model(cli: Command, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("splade_ptbr_connectors.encoding.folder.find_model", _not_yet)
    assert_fails(cli("export", "onnx", "someone/some-model", "fora"), 6, "the export to ONNX")


def _not_yet(model: str) -> NoReturn:
    raise AssertionError(f"{model} was looked for first")


def test_a_folder_that_is_there_already_is_not_overwritten(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cheia").mkdir()
    assert run(["export", "onnx", str(tiny_model), str(tmp_path / "cheia")]) == 3
    assert "exists already" in capsys.readouterr().err
