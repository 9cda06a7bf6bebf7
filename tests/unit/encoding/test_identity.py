"""Equal fingerprints mean equal vectors: whatever decides a vector enters the fingerprint, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig, OnnxSettings
from splade_ptbr_connectors.encoding.fingerprint import sha256_of
from splade_ptbr_connectors.errors import ModelFormatError
from tests.conftest import make_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's exporter
TEXT = "declarar o imposto de renda até o prazo"

# each changes what the network computes with the same weights
DECISIVE = [
    {"num_attention_heads": 4},
    {"num_attention_heads": 1},
    {"hidden_act": "relu"},
    {"layer_norm_eps": 0.1},
    {"num_hidden_layers": 1},
    {"is_decoder": True},
]
INERT = [
    {"transformers_version": "4.0.0"},
    {"hidden_dropout_prob": 0.5, "classifier_dropout": None},
    {"dtype": "float16"},
    {"architectures": ["BertModel"], "_name_or_path": "elsewhere"},
    {"pooler_fc_size": 768, "directionality": "bidi", "output_past": True},
    {"initializer_range": 9.0, "pad_token_id": 3, "bos_token_id": 7},
]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SpladeEncoder.load(tiny_model).export_onnx(tmp_path_factory.mktemp("export") / "model")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def vector(encoder: SpladeEncoder) -> np.ndarray:
    return encoder.encode_document(TEXT).to_scipy(encoder.vocab_size).toarray()[0]


@pytest.mark.parametrize("changes", DECISIVE, ids=str)
def test_what_changes_vectors_changes_the_fingerprint(model: Path, tiny_model: Path, changes: dict[str, Any]) -> None:
    edit(model / "config.json", **changes)
    before, after = SpladeEncoder.load(tiny_model), SpladeEncoder.load(model)
    assert not np.allclose(vector(before), vector(after), atol=1e-4)
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize("changes", INERT, ids=str)
def test_what_changes_no_vector_leaves_a_berts_fingerprint(model: Path, tiny_model: Path, changes: dict[str, Any]) -> None:
    edit(model / "config.json", **changes)
    before, after = SpladeEncoder.load(tiny_model), SpladeEncoder.load(model)
    np.testing.assert_array_equal(vector(before), vector(after))
    assert before.fingerprint == after.fingerprint


def test_an_unknown_entry_may_change_vectors_and_so_changes_the_fingerprint(model: Path, tiny_model: Path) -> None:
    edit(model / "config.json", some_new_switch=True)
    assert SpladeEncoder.load(model).fingerprint != SpladeEncoder.load(tiny_model).fingerprint


def test_an_export_has_the_fingerprint_of_its_whole_network(model: Path, tmp_path: Path) -> None:
    edit(model / "config.json", layer_norm_eps=0.1)
    encoder = SpladeEncoder.load(model)
    assert SpladeEncoder.load(encoder.export_onnx(tmp_path / "out")).fingerprint == encoder.fingerprint


def test_a_bert_as_it_usually_is_keeps_the_fingerprint_of_its_weights_alone(tiny_model: Path, model: Path) -> None:
    """Stores were filled under it before config.json counted."""
    edit(model / "config.json", num_attention_heads=1)  # 32 wide
    assert SpladeEncoder.load(model)._folder.weights_sha256() == sha256_of([tiny_model / "model.safetensors"])


def test_the_fingerprint_of_the_shipped_model_stays() -> None:
    expected = "5523d3b201cb24c69ed3133d428a4b197644a03c668e3439962742f32db6d3d5"
    assert {SpladeEncoder.load("mini-bert", runtime=runtime).fingerprint for runtime in ("onnx", "torch")} == {expected}


class TestGraphs:
    def test_one_that_was_not_exported_from_the_weights_beside_it_is_not_run(self, exported: Path, tmp_path: Path) -> None:
        other = make_tiny_model(tmp_path, seed=1)
        expected = vector(SpladeEncoder.load(other))
        for file in ("model.onnx", "splade.json"):  # at first the graph alone, then with what says where it is from
            shutil.copy(exported / file, other)
            encoder = SpladeEncoder.load(other)
            assert encoder.runtime.name == "torch"
            np.testing.assert_array_equal(vector(encoder), expected)
            with pytest.raises(ModelFormatError, match="was not exported from the weights beside it"):
                SpladeEncoder.load(other, runtime="onnx")

    def test_one_beside_its_own_weights_is_run(self, model: Path, exported: Path) -> None:
        shutil.copy(exported / "model.onnx", model)
        shutil.copy(exported / "splade.json", model)
        encoder = SpladeEncoder.load(model)
        assert encoder.runtime.name == "onnx"
        assert encoder.fingerprint == SpladeEncoder.load(exported).fingerprint == SpladeEncoder.load(model, runtime="torch").fingerprint

    @pytest.mark.parametrize("entry", ["sha256", "source_sha256"])
    def test_an_entry_changed_by_hand_is_refused(self, exported: Path, tmp_path: Path, entry: str) -> None:
        folder = Path(shutil.copytree(exported, tmp_path / "copy"))
        graph = onnx.load(folder / "model.onnx")
        graph.doc_string = "optimised"
        onnx.save(graph, folder / "model.onnx")
        raw = json.loads((folder / "splade.json").read_text(encoding="utf-8"))
        raw["onnx"][entry] = sha256_of([folder / "model.onnx"])
        (folder / "splade.json").write_text(json.dumps(raw), encoding="utf-8")
        with pytest.raises(ModelFormatError, match="changed after the export"):
            SpladeEncoder.load(folder)

    def test_one_without_a_seal_is_a_model_of_its_own(self, exported: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(exported, tmp_path / "copy"))
        raw = json.loads((folder / "splade.json").read_text(encoding="utf-8"))
        del raw["onnx"]["seal"]
        (folder / "splade.json").write_text(json.dumps(raw), encoding="utf-8")
        alone = SpladeEncoder.load(folder)
        assert alone.fingerprint != SpladeEncoder.load(exported).fingerprint
        assert alone._folder.weights_sha256() == sha256_of([folder / "model.onnx"])
        alone.config.write(folder)
        assert EncoderConfig.read(folder) == alone.config

    @pytest.mark.parametrize("described", [True, False])
    def test_tensors_in_further_files_are_refused(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: bool
    ) -> None:
        folder = Path(shutil.copytree(exported, tmp_path / "copy"))
        graph = onnx.load(folder / "model.onnx")
        (folder / "model.onnx").unlink()
        onnx.save(graph, folder / "model.onnx", save_as_external_data=True, location="more.bin", size_threshold=100)
        assert (folder / "more.bin").is_file()
        raw = json.loads((folder / "splade.json").read_text(encoding="utf-8"))
        sha256 = sha256_of([folder / "model.onnx"])
        raw["onnx"] = OnnxSettings.of_export(sha256, sha256).model_dump() if described else None
        (folder / "splade.json").write_text(json.dumps(raw), encoding="utf-8")
        for place in (tmp_path, folder):
            monkeypatch.chdir(place)
            with pytest.raises(ModelFormatError, match="cannot be loaded"):
                SpladeEncoder.load(folder)


class TestWeights:
    def split(self, model: Path, *names: str) -> None:
        """Share the tensors out among files of these names, and index them."""
        tensors = load_file(model / "model.safetensors")
        (model / "model.safetensors").unlink()
        places = {key: names[n % len(names)] for n, key in enumerate(sorted(tensors))}
        for name in names:
            save_file({key: tensors[key] for key in tensors if places[key] == name}, model / name, metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": places}
        (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    def test_every_part_that_the_index_names_counts_whatever_it_is_called(self, model: Path) -> None:
        self.split(model, "model-1.safetensors", "rest.safetensors")
        before = SpladeEncoder.load(model)
        tensors = load_file(model / "rest.safetensors")
        save_file({key: 2 * value for key, value in tensors.items()}, model / "rest.safetensors", metadata={"format": "pt"})
        after = SpladeEncoder.load(model)
        assert not np.allclose(vector(before), vector(after))
        assert before.fingerprint != after.fingerprint

    @pytest.mark.parametrize("content", [{}, {"weight_map": {}}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "../b.safetensors"}}])
    def test_an_index_that_names_no_parts_beside_it_is_refused(self, model: Path, content: dict[str, Any]) -> None:
        shutil.copy(model / "model.safetensors", model.parent / "b.safetensors")
        (model / "model.safetensors").unlink()
        (model / "model.safetensors.index.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ModelFormatError, match="expected safetensors files beside it"):
            SpladeEncoder.load(model)

    def test_weights_that_transformers_would_take_from_elsewhere_are_refused(self, model: Path) -> None:
        (model / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}', encoding="utf-8")
        with pytest.raises(ModelFormatError, match="holds an adapter"):
            SpladeEncoder.load(model)
        (model / "adapter_config.json").unlink()
        edit(model / "config.json", transformers_weights="other.safetensors")
        with pytest.raises(ModelFormatError, match="transformers_weights"):
            SpladeEncoder.load(model)
