"""Finding a model: layouts that are understood, and a clear error for every broken folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError, ModelNotFoundError, SpladeConnectorsError


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


class TestLayouts:
    def test_sentence_transformers_folder_gives_equal_vectors(self, model: Path, tmp_path: Path) -> None:
        from sentence_transformers import SparseEncoder

        theirs = SparseEncoder(str(model))
        theirs.save_pretrained(str(tmp_path / "st"))
        ours = SpladeEncoder.load(tmp_path / "st", drop_special_tokens=False)
        for text in ("imposto de renda", "declarar a vacina e o documento"):
            expected = theirs.encode_document([text], convert_to_sparse_tensor=False).cpu().numpy()[0]
            np.testing.assert_allclose(ours.encode_document(text).to_scipy(ours.vocab_size).toarray()[0], expected, atol=1e-5)

    def test_double_log_of_sentence_transformers(self, model: Path, tmp_path: Path) -> None:
        from sentence_transformers import SparseEncoder
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        theirs = SparseEncoder(modules=[SparseEncoder(str(model))[0], SpladePooling("max", activation_function="log1p_relu")])
        theirs.save_pretrained(str(tmp_path / "st"))
        ours = SpladeEncoder.load(tmp_path / "st", drop_special_tokens=False)
        expected = theirs.encode_document(["imposto"], convert_to_sparse_tensor=False).cpu().numpy()[0]
        np.testing.assert_allclose(ours.encode_document("imposto").to_scipy(ours.vocab_size).toarray()[0], expected, atol=1e-5)

    def test_vocab_txt_alone_tokenises_as_tokenizer_json(self, model: Path) -> None:
        text = "Declaração do imposto: São Paulo, água?"
        expected = SpladeEncoder.load(model).encode_query(text)
        (model / "tokenizer.json").unlink()
        edit_json(model / "tokenizer_config.json", do_lower_case=False, strip_accents=False)
        assert SpladeEncoder.load(model).encode_query(text) == expected

    def test_tokenizer_of_another_folder(self, model: Path, tiny_model: Path) -> None:
        (model / "tokenizer.json").unlink()
        (model / "vocab.txt").unlink()
        assert SpladeEncoder.load(model, tokenizer=tiny_model).encode_query("imposto") == SpladeEncoder.load(tiny_model).encode_query(
            "imposto"
        )

    def test_a_symlink_is_a_folder(self, tiny_model: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tiny_model)
        assert len(SpladeEncoder.load(tmp_path / "link").encode_query("imposto"))

    def test_query_table_needs_no_network(self, model: Path) -> None:
        size = SpladeEncoder.load(model).vocab_size
        table = np.linspace(-1, 3, size, dtype=np.float32)
        save_file({"weights": table}, model / "query_weights.safetensors")
        EncoderConfig.checked(
            {
                "vocab_size": size,
                "query": {"kind": "table", "file": "query_weights.safetensors"},
                "max_length_query": 8,
                "max_length_document": 64,
            },
            "",
        ).write(model)
        encoder = SpladeEncoder.load(model)
        vector = encoder.encode_query("imposto renda imposto " * 30)
        ids = {encoder._vocabulary.token_to_id(token) for token in ("imposto", "renda")}
        assert vector == SparseVector(sorted(ids), table[sorted(ids)])
        save_file({"weights": table + 1}, model / "query_weights.safetensors")
        assert SpladeEncoder.load(model).fingerprint != encoder.fingerprint


class TestBrokenFolders:
    def refused(self, model: Path | str, message: str, error: type[SpladeConnectorsError] = ModelFormatError) -> None:
        with pytest.raises(error, match=message) as raised:
            SpladeEncoder.load(model, local_files_only=True)
        assert "\n" not in str(raised.value)

    def test_no_such_model(self, tmp_path: Path) -> None:
        self.refused(str(tmp_path / "absent"), "no model", ModelNotFoundError)
        self.refused("nobody/nothing", "no model 'nobody/nothing'", ModelNotFoundError)
        self.refused("../../etc", "no model|no config.json|holds no weights", SpladeConnectorsError)

    @pytest.mark.parametrize("model", [None, 7, b"mini", ["mini"]])
    def test_what_names_no_model(self, model: Any) -> None:
        self.refused(model, "a folder or a hub id", ConfigError)

    def test_a_file(self, model: Path) -> None:
        self.refused(model / "config.json", "is a file")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "has no config.json")

    def test_no_tokenizer(self, model: Path) -> None:
        (model / "tokenizer.json").unlink()
        (model / "vocab.txt").unlink()
        self.refused(model, "has no tokenizer")

    def test_broken_tokenizer(self, model: Path) -> None:
        (model / "tokenizer.json").write_text("{}", encoding="utf-8")
        self.refused(model, "tokenizer.json cannot be read")

    def test_vocabulary_of_another_size(self, model: Path) -> None:
        edit_json(model / "config.json", vocab_size=100)
        self.refused(model, "do not belong together")

    def test_only_pickled_weights(self, model: Path) -> None:
        (model / "model.safetensors").rename(model / "pytorch_model.bin")
        self.refused(model, "pickled")

    def test_no_weights(self, model: Path) -> None:
        (model / "model.safetensors").unlink()
        self.refused(model, "holds no weights")

    @pytest.mark.parametrize("left", [0, 5, 100, 5000])
    def test_truncated_weights(self, model: Path, left: int) -> None:
        data = (model / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(data[:left])
        self.refused(model, "broken or incomplete")

    def test_code_of_its_own(self, model: Path) -> None:
        edit_json(model / "config.json", auto_map={"AutoModelForMaskedLM": "evil.Evil"})
        self.refused(model, "auto_map")

    @pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
    def test_config_is_no_json_object(self, model: Path, text: str) -> None:
        (model / "config.json").write_bytes(text.encode("latin-1"))
        self.refused(model, "config.json")

    def test_a_future_format(self, model: Path) -> None:
        (model / "splade.json").write_text('{"format_version": 99}', encoding="utf-8")
        self.refused(model, "format version 99")

    def test_an_unknown_setting(self, model: Path) -> None:
        (model / "splade.json").write_text('{"vocab_size": 9, "poolling": "max"}', encoding="utf-8")
        self.refused(model, "did you mean 'pooling'")

    def test_another_sentence_transformers_model(self, model: Path) -> None:
        (model / "modules.json").write_text('[{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1"}]', encoding="utf-8")
        self.refused(model, "SpladePooling")

    def test_query_table_of_another_size(self, model: Path) -> None:
        size = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        EncoderConfig.checked(
            {"vocab_size": size, "query": {"kind": "table", "file": "t.safetensors"}, "max_length_query": 8, "max_length_document": 64}, ""
        ).write(model)
        self.refused(model, "has no 't.safetensors'")
        save_file({"weights": np.ones(3, np.float32)}, model / "t.safetensors")
        self.refused(model, "'weights'")

    def test_a_table_outside_the_folder(self, model: Path) -> None:
        size = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        save_file({"weights": np.ones(size, np.float32)}, model.parent / "t.safetensors")
        edit = {
            "vocab_size": size,
            "query": {"kind": "table", "file": "../t.safetensors"},
            "max_length_query": 8,
            "max_length_document": 64,
        }
        (model / "splade.json").write_text(json.dumps(edit), encoding="utf-8")
        self.refused(model, "its table of query weights")


def test_the_login_of_a_mirror_shows_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("cannot reach https://user:hunter2@mirror/api/models/nobody/nothing through http://u:hunter2@proxy:3128")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(ModelNotFoundError, match=r"https://\*\*\*@mirror/api") as caught:
        SpladeEncoder.load("nobody/nothing")
    assert "hunter2" not in str(caught.value)
