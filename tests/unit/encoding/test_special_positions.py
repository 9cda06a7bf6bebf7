"""pool_special_tokens: the positions of special tokens are attended to, but not pooled; the naive masked logits are the oracle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM, AutoTokenizer

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.onnx_graph import export_onnx
from splade_ptbr_connectors.encoding.tokens import load_tokenizer, padding_id, special_ids
from splade_ptbr_connectors.encoding.torch_model import LexicalChannel, SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from tests.conftest import WORDS, make_tiny_model

from .tiny import dense, make_tiny_roberta, write_settings

EXPORTER = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
texts = st.lists(st.sampled_from([*WORDS, "€", "[MASK]"]), min_size=1, max_size=25).map(" ".join)


class Oracle:
    """Logits [L, V] of one text from transformers; special tokens' rows are left out of the maximum or the sum."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def __call__(self, text: str, pooling: str = "max") -> np.ndarray:
        inputs = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            weights = torch.log1p(torch.relu(self.model(**inputs).logits[0]))
        special = torch.isin(inputs.input_ids[0], torch.tensor(self.tokenizer.all_special_ids))
        pooled = weights.masked_fill(special[:, None], 0.0)
        return (pooled.amax(0) if pooling == "max" else pooled.sum(0)).numpy()


@pytest.fixture(scope="module")
def oracle(tiny_model: Path) -> Oracle:
    return Oracle(tiny_model)


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> SpladeEncoder:
    return SpladeEncoder.load(tiny_model, pool_special_tokens=False, drop_special_tokens=False)


@settings(max_examples=25)
@given(text=texts)
def test_equals_the_definition_on_both_sides(encoder: SpladeEncoder, oracle: Oracle, text: str) -> None:
    for vector in (encoder.encode_query(text), encoder.encode_document(text)):
        np.testing.assert_allclose(dense(vector, encoder.vocab_size), oracle(text), atol=1e-6)


def test_sum_pooling_and_a_difference_to_pooling_everything(tiny_model: Path, oracle: Oracle) -> None:
    text = "imposto de renda"
    encoder = SpladeEncoder.load(tiny_model, pooling="sum", pool_special_tokens=False, drop_special_tokens=False)
    found = dense(encoder.encode_document(text), encoder.vocab_size)
    np.testing.assert_allclose(found, oracle(text, "sum"), atol=1e-5)
    everything = SpladeEncoder.load(tiny_model, pooling="sum", drop_special_tokens=False).encode_document(text)
    assert np.abs(dense(everything, encoder.vocab_size) - found).max() > 0.1


def test_a_text_of_special_tokens_alone_has_no_terms(encoder: SpladeEncoder) -> None:
    assert len(encoder.encode_document("[MASK] [MASK]")) == 0


def test_a_folder_that_says_so_needs_no_argument(tiny_model: Path, tmp_path: Path, encoder: SpladeEncoder) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = write_settings(folder, pool_special_tokens=False, drop_special_tokens=False)
    assert SpladeEncoder.load(folder).encode_query("imposto de renda") == encoder.encode_query("imposto de renda")
    assert SpladeEncoder.load(folder).fingerprint == encoder.fingerprint
    model = SpladeModel.from_folder(folder, config)
    assert model.unpooled_ids.tolist() == special_ids(load_tokenizer(folder, config.vocab_size))
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    with pytest.raises(ModelFormatError, match="no tokenizer"):
        SpladeModel.from_folder(folder, config)
    assert SpladeModel.from_folder(folder, config, unpooled_ids=[2, 3]).unpooled_ids.tolist() == [2, 3]


def test_the_buffer_is_not_saved(tiny_model: Path, tmp_path: Path) -> None:
    model = SpladeModel.from_folder(tiny_model, EncoderConfig(vocab_size=218), unpooled_ids=[2])
    assert "unpooled_ids" not in model.state_dict()


def test_the_query_network_leaves_them_out_too(tiny_model: Path, tmp_path: Path, oracle: Oracle) -> None:
    folder = shutil.copytree(make_tiny_model(_new(tmp_path / "documents"), seed=5), tmp_path / "pair")
    (folder / "query").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(tiny_model / name, folder / "query" / name)
    write_settings(folder, pool_special_tokens=False, drop_special_tokens=False, query={"kind": "separate"})
    encoder = SpladeEncoder.load(folder)
    np.testing.assert_allclose(dense(encoder.encode_query("a lei"), encoder.vocab_size), oracle("a lei"), atol=1e-6)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.filterwarnings(*EXPORTER)
class TestExport:
    @pytest.mark.parametrize("pooling", ["max", "sum"])
    def test_the_graph_leaves_them_out_too(self, tiny_model: Path, tmp_path: Path, oracle: Oracle, pooling: str) -> None:
        ours = SpladeEncoder.load(tiny_model, pooling=pooling, pool_special_tokens=False, drop_special_tokens=False)
        theirs = SpladeEncoder.load(ours.export_onnx(tmp_path / "model"))
        assert (theirs.runtime.name, theirs.fingerprint) == ("onnx", ours.fingerprint)
        for text in ("imposto de renda", "[MASK] lei €", " ".join(WORDS[:40])):
            np.testing.assert_allclose(dense(theirs.encode_query(text), ours.vocab_size), oracle(text, pooling), atol=1e-4)
        with pytest.raises(ConfigError, match="pooling built in"):
            SpladeEncoder.load(tmp_path / "model", pool_special_tokens=True)

    def test_the_lexical_channel_still_counts_the_text(self, tiny_model: Path, tmp_path: Path) -> None:
        """Its terms come from the text's own tokens, which are never special; only the network's maximum changes."""
        import onnxruntime

        size = SpladeEncoder.load(tiny_model).vocab_size
        channel = LexicalChannel(torch.ones(size), k1=1.2, b=0.75, average_length=8.0, special_ids=[0, 1, 2, 3, 4])
        plain = SpladeModel.from_folder(tiny_model, EncoderConfig(vocab_size=size), unpooled_ids=[2, 3])
        without = SpladeModel(plain.backbone.from_pretrained(tiny_model), lexical=channel, contextual=False)
        model = SpladeModel(plain.backbone.from_pretrained(tiny_model), lexical=channel, unpooled_ids=[0, 1, 2, 3, 4]).eval()
        ids = torch.tensor([[2, 90, 91, 90, 3], [2, 120, 3, 0, 0]])
        mask = (ids != 0).long()
        with torch.no_grad():
            expected = torch.maximum(SpladeModel.activations(_plain(plain, [0, 1, 2, 3, 4]), ids, mask), without.activations(ids, mask))
            torch.testing.assert_close(model.activations(ids, mask), expected)
        export_onnx(model, tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
        (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)

    def test_a_graph_refuses_another_pooling_than_its_own(self, tiny_model: Path, tmp_path: Path) -> None:
        out = SpladeEncoder.load(tiny_model).export_onnx(tmp_path / "model")
        for setting in ({"pooling": "sum"}, {"pool_special_tokens": False}):
            for runtime in ("auto", "onnx"):
                with pytest.raises(ConfigError, match="pooling built in"):
                    SpladeEncoder.load(out, runtime=runtime, **setting)  # type: ignore[arg-type]
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(tiny_model / name, out / name)
        assert SpladeEncoder.load(out).runtime.name == "onnx"
        changed = SpladeEncoder.load(out, pooling="sum")
        assert changed.runtime.name == "torch"
        assert changed.encode_query("a lei") == SpladeEncoder.load(tiny_model, pooling="sum").encode_query("a lei")


def _plain(model: SpladeModel, unpooled: list[int]) -> SpladeModel:
    model.unpooled_ids = torch.tensor(unpooled)
    return model


class TestPadding:
    def test_the_padding_token_is_the_tokenizers_own(self, tiny_model: Path, tmp_path: Path) -> None:
        roberta = load_tokenizer(make_tiny_roberta(tmp_path), _size(tmp_path))
        bert = load_tokenizer(tiny_model, _size(tiny_model))
        assert (padding_id(roberta), padding_id(bert)) == (1, 0)
        roberta.enable_padding(pad_id=4, pad_token="<mask>")
        assert padding_id(roberta) == 4

    def test_padding_of_another_id_than_zero_changes_nothing(self, tmp_path: Path) -> None:
        encoder = SpladeEncoder.load(make_tiny_roberta(tmp_path))
        assert encoder._forward._pad_id == 1
        batch = ["imposto", " ".join(WORDS[:30]), "a lei"]
        for together, text in zip(encoder.encode_documents(batch), batch, strict=True):
            alone = dense(encoder.encode_document(text), encoder.vocab_size)
            np.testing.assert_allclose(dense(together, encoder.vocab_size), alone, atol=1e-6)


def _size(folder: Path) -> int:
    import json

    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"])
