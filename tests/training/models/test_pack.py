"""Packed folders: with graphs for every network, they give the same vectors with and without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from splade_ptbr_connectors.cli.main import run as command
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.fingerprint import network_sha256, sha256_of
from training.data.training_data import load_training_data
from training.models.build import Built, build_model
from training.models.pack import pack
from training.recipe.file import load_recipe
from training.recipe.sections import Recipe

TEXTS = ["qual imposto novo?", "o médico tem vacina de saúde", "caso12 " + "imposto " * 40]
EXPORTER = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def built_of(recipe: Recipe, data_dir: Path) -> Built:
    """An untrained model; where the queries have a network of their own, one with other weights."""
    built = build_model(recipe, data_dir, load_training_data(recipe, data_dir).passages)
    for network in built.model.networks()[1:]:
        for parameter in network.parameters():
            parameter.data.mul_(1.1)
    built.model.eval().round_weights(recipe.encoding.storage)
    return built


def packed(recipe: Recipe, data_dir: Path, folder: Path) -> Path:
    built = built_of(recipe, data_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pack(built.model, recipe, built.tokens, folder)
    return folder


@pytest.fixture(scope="module")
def pair(smoke_recipe: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load_recipe(smoke_recipe, ["encoding.onnx = true", "queries.kind = 'separate'"])
    return packed(recipe, data_dir, tmp_path_factory.mktemp("pair") / "model")


def rows(encoder: SpladeEncoder, side: str) -> np.ndarray:
    dense = np.zeros((len(TEXTS), encoder.vocab_size), np.float32)
    for row, vector in zip(dense, getattr(encoder, f"encode_{side}")(TEXTS), strict=True):
        row[vector.term_ids] = vector.weights
    return dense


@pytest.mark.parametrize(
    ("queries", "storage"), [("shared", "float32"), ("separate", "float32"), ("separate", "int8"), ("table", "float16")]
)
def test_graphs_of_every_network_give_what_torch_gives(
    smoke_recipe: Path, data_dir: Path, tmp_path: Path, queries: str, storage: str
) -> None:
    changes = [
        "encoding.onnx = true",
        f"encoding.storage = '{storage}'",
        f"queries.kind = '{queries}'",
        "model.activation = 'log1p_log1p_relu'",
    ]
    folder = packed(load_recipe(smoke_recipe, changes), data_dir, tmp_path / "model")
    with_torch, without = (SpladeEncoder.load(folder, runtime=name) for name in ("torch", "onnx"))
    assert without.fingerprint == with_torch.fingerprint
    for side in ("queries", "documents"):
        expected = rows(with_torch, side)
        assert (expected > 0).any(axis=1).all()
        np.testing.assert_allclose(rows(without, side), expected, atol=1e-4)
    if queries == "separate":
        assert not np.allclose(rows(without, "queries"), rows(without, "documents"), atol=1e-2)
        settings = json.loads((folder / "splade.json").read_text(encoding="utf-8"))
        for place, described in ((folder, settings), (folder / "query", settings["query"])):
            assert described["onnx"]["sha256"] == sha256_of([place / "model.onnx"])
            assert described["onnx"]["source_sha256"] == network_sha256(place)


@pytest.mark.parametrize("queries", ["shared", "separate", "table"])
@pytest.mark.parametrize("special", ["true", "false"])
def test_the_folder_gives_the_vectors_that_were_trained(
    smoke_recipe: Path, data_dir: Path, tmp_path: Path, queries: str, special: str
) -> None:
    """In one batch with padding, whose id is 0: special tokens have no weight, and are pooled only if the recipe says so."""
    recipe = load_recipe(smoke_recipe, [f"queries.kind = '{queries}'", f"model.pool_special_tokens = {special}"])
    built = built_of(recipe, data_dir)
    pack(built.model, recipe, built.tokens, tmp_path / "model")
    encoder = SpladeEncoder.load(tmp_path / "model", on_long="truncate")
    assert built.tokens.tokenizer.token_to_id("[PAD]") == 0
    for side, length in (("queries", 32), ("documents", 64)):
        tokens = built.tokens.tokens(TEXTS, max_length=length)
        assert (tokens.attention_mask == 0).any()
        with torch.no_grad():
            trained = getattr(built.model, f"encode_{side}")(tokens)["activations"].numpy()
        assert not trained[:, list(built.tokens.special)].any()
        np.testing.assert_allclose(rows(encoder, side), trained, atol=1e-5)


def test_a_pair_of_networks_runs_where_torch_is_not_installed(pair: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair, tmp_path / "model")
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from splade_ptbr_connectors import SpladeEncoder; encoder = SpladeEncoder.load(sys.argv[1])\n"
        "print(encoder.runtime.name, encoder.query_runtime.name, len(encoder.encode_query('qual imposto?')) > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.split() == ["onnx", "onnx", "True"], done.stderr


@EXPORTER
def test_the_export_command_takes_a_pair_of_networks(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(pair, tmp_path / "model", ignore=shutil.ignore_patterns("*.onnx"))
    capsys.readouterr()
    assert command(["export", "onnx", str(folder), str(tmp_path / "exported"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    ours, theirs = SpladeEncoder.load(folder), SpladeEncoder.load(tmp_path / "exported", runtime="onnx")
    assert document["fingerprint"] == ours.fingerprint == theirs.fingerprint
    for side in ("queries", "documents"):
        np.testing.assert_allclose(rows(theirs, side), rows(ours, side), atol=1e-4)


def test_the_saved_weights_may_be_read_by_whom_the_umask_lets(pair: Path) -> None:
    for weights in pair.rglob("*.safetensors"):
        assert weights.stat().st_mode & 0o777 == (pair / "splade.json").stat().st_mode & 0o777
