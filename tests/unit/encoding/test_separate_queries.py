"""Queries by a network of their own: each side must equal the plain model of its own network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding import folder as folder_module
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from tests.conftest import WORDS, make_tiny_model

from .test_folder import edit_json
from .tiny import dense, make_tiny_t5, write_settings

EXPORTER = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
SEPARATE = {"query": {"kind": "separate"}}
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join)


@pytest.fixture(scope="module")
def query_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("queries"), seed=7, positions=32)


@pytest.fixture(scope="module")
def pair_folder(tiny_model: Path, query_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pair(tmp_path_factory.mktemp("pair") / "model", tiny_model, query_model)


@pytest.fixture
def broken(pair_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pair_folder, tmp_path / "model")


def make_pair(folder: Path, documents: Path, queries: Path) -> Path:
    shutil.copytree(documents, folder)
    (folder / "query").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(queries / name, folder / "query" / name)
    write_settings(folder, max_length_query=32, **SEPARATE)
    return folder


@pytest.fixture(scope="module")
def encoders(pair_folder: Path, tiny_model: Path, query_model: Path) -> tuple[SpladeEncoder, SpladeEncoder, SpladeEncoder]:
    return SpladeEncoder.load(pair_folder), SpladeEncoder.load(tiny_model), SpladeEncoder.load(query_model)


@settings(max_examples=25)
@given(text=texts)
def test_each_side_equals_the_model_of_its_network(encoders: tuple[SpladeEncoder, SpladeEncoder, SpladeEncoder], text: str) -> None:
    pair, documents, queries = encoders
    assert pair.encode_document(text) == documents.encode_document(text)
    assert pair.encode_query(text) == queries.encode_query(text)
    assert pair.encode_query(text) != pair.encode_document(text)


def test_the_saved_models_of_training_make_such_a_folder(tiny_model: Path, query_model: Path, tmp_path: Path) -> None:
    plain = EncoderConfig(vocab_size=SpladeEncoder.load(tiny_model).vocab_size, max_length_query=32, max_length_document=32)
    SpladeModel.from_folder(tiny_model, plain).save_folder(tmp_path / "m")
    SpladeModel.from_folder(query_model, plain).save_folder(tmp_path / "m" / "query")
    shutil.copyfile(tiny_model / "tokenizer.json", tmp_path / "m" / "tokenizer.json")
    write_settings(tmp_path / "m", max_length_query=32, **SEPARATE)
    assert SpladeEncoder.load(tmp_path / "m").encode_query("imposto") == SpladeEncoder.load(query_model).encode_query("imposto")


def test_the_fingerprint_covers_both_networks(pair_folder: Path, tiny_model: Path, query_model: Path, tmp_path: Path) -> None:
    pair = SpladeEncoder.load(pair_folder)
    documents = make_pair(tmp_path / "documents", make_tiny_model(_new(tmp_path / "a"), seed=8), query_model)
    queries = make_pair(tmp_path / "queries", tiny_model, make_tiny_model(_new(tmp_path / "b"), seed=9, positions=32))
    alone = make_pair(tmp_path / "alone", tiny_model, query_model)
    write_settings(alone, max_length_query=32)
    fingerprints = [pair.fingerprint, *(SpladeEncoder.load(folder).fingerprint for folder in (documents, queries, alone))]
    assert len(set(fingerprints)) == 4


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_t5_queries_for_t5_documents(tmp_path: Path) -> None:
    make_tiny_t5(_new(tmp_path / "documents"))
    make_tiny_t5(_new(tmp_path / "queries"), seed=3, whole=False)
    pair = make_pair(tmp_path / "pair", tmp_path / "documents", tmp_path / "queries")
    assert SpladeEncoder.load(pair).encode_query("a lei") == SpladeEncoder.load(tmp_path / "queries").encode_query("a lei")


@pytest.mark.filterwarnings(*EXPORTER)
class TestExport:
    @pytest.fixture(scope="class")
    def exported(self, pair_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return SpladeEncoder.load(pair_folder).export_onnx(tmp_path_factory.mktemp("export") / "model")

    def test_both_networks_are_exported_and_agree(self, exported: Path, pair_folder: Path) -> None:
        ours, theirs = SpladeEncoder.load(pair_folder), SpladeEncoder.load(exported)
        assert (theirs.runtime.name, theirs.query_runtime.name) == ("onnx", "onnx")
        assert theirs.fingerprint == ours.fingerprint
        for text in ("imposto", " ".join(WORDS[:20])):
            for side in ("encode_query", "encode_document"):
                a, b = (dense(getattr(encoder, side)(text), ours.vocab_size) for encoder in (ours, theirs))
                np.testing.assert_allclose(a, b, atol=1e-4)

    def test_another_query_graph_than_the_one_described_is_refused(self, exported: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(exported, tmp_path / "copy")
        (copy / "query" / "model.onnx").write_bytes((copy / "model.onnx").read_bytes())
        with pytest.raises(ModelFormatError, match=r"query.*model\.onnx is not the graph"):
            SpladeEncoder.load(copy)

    def test_a_lost_query_graph_is_refused(self, exported: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(exported, tmp_path / "copy")
        (copy / "query" / "model.onnx").unlink()
        with pytest.raises(ModelFormatError, match=r"query holds no weights"):
            SpladeEncoder.load(copy)

    def test_an_exported_pair_cannot_be_exported_again(self, exported: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="exported already"):
            SpladeEncoder.load(exported).export_onnx(tmp_path / "again")


class TestBrokenFolders:
    def refused(self, folder: Path, message: str, error: type[Exception] = ModelFormatError) -> None:
        with pytest.raises(error, match=message) as raised:
            SpladeEncoder.load(folder)
        assert "\n" not in str(raised.value)

    def test_no_subfolder(self, broken: Path) -> None:
        shutil.rmtree(broken / "query")
        self.refused(broken, "no subfolder 'query'")

    def test_no_weights(self, broken: Path) -> None:
        (broken / "query" / "model.safetensors").unlink()
        self.refused(broken, "query holds no weights")

    def test_no_config(self, broken: Path) -> None:
        (broken / "query" / "config.json").unlink()
        self.refused(broken, r"query has no config\.json")

    def test_truncated_weights(self, broken: Path) -> None:
        data = (broken / "query" / "model.safetensors").read_bytes()
        (broken / "query" / "model.safetensors").write_bytes(data[:500])
        self.refused(broken, "broken or incomplete")

    def test_another_vocabulary(self, broken: Path) -> None:
        edit_json(broken / "query" / "config.json", vocab_size=99)
        self.refused(broken, "vocabulary of 99 terms")

    def test_code_of_its_own(self, broken: Path) -> None:
        edit_json(broken / "query" / "config.json", auto_map={"AutoModel": "evil.Evil"})
        self.refused(broken, "auto_map")

    def test_longer_queries_than_the_query_network_has_positions(self, broken: Path) -> None:
        write_settings(broken, max_length_query=33, **SEPARATE)
        self.refused(broken, "query network .* 32 positions", ConfigError)
        write_settings(broken, max_length_query=32, max_length_document=64, **SEPARATE)
        assert len(SpladeEncoder.load(broken).encode_query("imposto"))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"query": {"kind": "separate", "file": "t.safetensors"}}, "the other kinds have none"),
            ({"query": {"kind": "separate"}, "lexical": {"average_length": 9.0}}, "without a lexical channel"),
            ({"query": {"kind": "same", "onnx": {"sha256": "a", "source_sha256": "b"}}}, "'separate' only"),
            ({"query": {"kind": "seperate"}}, "'same', 'table', 'separate' or 'expansion'"),
        ],
    )
    def test_settings_that_contradict_each_other(self, settings: dict, message: str) -> None:
        with pytest.raises(ModelFormatError, match=message):
            EncoderConfig.checked({"vocab_size": 9} | settings, "splade.json")


def test_a_download_fetches_the_query_network() -> None:
    wanted = ["splade.json", "tokenizer.json", "query/config.json", "query/model.safetensors", "query/model.onnx"]
    assert list(filter_repo_objects([*wanted, "pytorch_model.bin", "query/evil.py"], allow_patterns=folder_module._HUB_FILES)) == wanted
