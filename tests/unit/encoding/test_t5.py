"""T5 encoders: z_ij = d_model^-0.5 h_i . E_j + b_j, written out over [L, V], is the oracle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import MT5Config, MT5ForConditionalGeneration, PreTrainedModel, UMT5Config, UMT5ForConditionalGeneration

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.backbone import load_backbone
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.tokens import load_tokenizer, padding_id, special_ids
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from tests.conftest import WORDS

from .tiny import T5_SIZES, dense, make_tiny_t5

EXPORTER = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
texts = st.lists(st.sampled_from([*WORDS, "xyz", "É", "??"]), min_size=1, max_size=20).map(" ".join)


def naive_logits(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, bias: torch.Tensor | float = 0.0) -> torch.Tensor:
    """[B, L, V] from transformers' own encoder and the shared embeddings."""
    with torch.no_grad():
        states = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return states @ model.shared.weight.t() * model.config.d_model**-0.5 + bias


def naive_vector(model: PreTrainedModel, ids: list[int], special: list[int], pooling: str = "max") -> np.ndarray:
    row = torch.tensor([ids])
    each = torch.log1p(torch.relu(naive_logits(model, row, torch.ones_like(row))[0]))
    pooled = each.amax(0) if pooling == "max" else each.sum(0)
    pooled[special] = 0
    return pooled.numpy()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("t5")
    return folder, make_tiny_t5(folder)


@pytest.fixture(scope="module")
def encoder(checkpoint: tuple[Path, PreTrainedModel]) -> SpladeEncoder:
    return SpladeEncoder.load(checkpoint[0])


def batch(vocab_size: int, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(3, vocab_size, (3, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:], mask[2, 2:] = 0, 0
    return ids, mask


class TestNetwork:
    @pytest.mark.parametrize("whole", [True, False])
    def test_a_checkpoint_starts_with_the_definition_and_a_bias_of_zeros(self, tmp_path: Path, whole: bool) -> None:
        model = make_tiny_t5(tmp_path, whole=whole)
        loaded = load_backbone(tmp_path).eval()
        ids, mask = batch(model.config.vocab_size)
        torch.testing.assert_close(loaded(input_ids=ids, attention_mask=mask).logits, naive_logits(model, ids, mask))
        assert not loaded.get_output_embeddings().bias.any()
        assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight

    @pytest.mark.parametrize(("config", "kind"), [(MT5Config, MT5ForConditionalGeneration), (UMT5Config, UMT5ForConditionalGeneration)])
    def test_multilingual_relatives(self, tmp_path: Path, config: type, kind: type) -> None:
        torch.manual_seed(0)
        model = kind(config(vocab_size=90, decoder_start_token_id=0, **T5_SIZES)).eval()
        model.save_pretrained(tmp_path)
        ids, mask = batch(90)
        loaded = load_backbone(tmp_path).eval()
        torch.testing.assert_close(loaded(input_ids=ids, attention_mask=mask).logits, naive_logits(model, ids, mask))

    def test_the_decoders_own_projection_is_not_used(self, tmp_path: Path) -> None:
        """T5 v1.1 stores lm_head.weight apart from the embeddings: the head stays tied to the embeddings."""
        model, weights, config = make_tiny_t5(tmp_path), tmp_path / "model.safetensors", tmp_path / "config.json"
        state = load_file(str(weights))
        save_file(state | {"lm_head.weight": torch.randn_like(state["shared.weight"])}, str(weights), {"format": "pt"})
        untied = json.loads(config.read_text(encoding="utf-8")) | {"tie_word_embeddings": False}
        config.write_text(json.dumps(untied), encoding="utf-8")
        ids, mask = batch(model.config.vocab_size)
        loaded = load_backbone(tmp_path).eval()
        torch.testing.assert_close(loaded(input_ids=ids, attention_mask=mask).logits, naive_logits(model, ids, mask))

    @pytest.mark.parametrize("dtype", [None, torch.float16])
    def test_save_and_load_keep_every_weight_and_the_bias(self, tmp_path: Path, dtype: torch.dtype | None) -> None:
        make_tiny_t5(tmp_path / "start")
        model = SpladeModel(load_backbone(tmp_path / "start")).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half().float())
            model.head.bias.copy_(torch.randn_like(model.head.bias).half().float())
        model.save_folder(tmp_path / "saved", dtype=dtype)
        loaded = SpladeModel.from_folder(tmp_path / "saved", EncoderConfig(vocab_size=model.vocab_size))
        ids, mask = batch(model.vocab_size)
        with torch.no_grad():
            torch.testing.assert_close(loaded.activations(ids, mask), model.activations(ids, mask))
        assert torch.equal(loaded.head.bias, model.head.bias)
        stored = load_file(str(tmp_path / "saved" / "model.safetensors"))
        assert [name for name in stored if name.startswith(("token_head", "decoder", "lm_head"))] == ["token_head.bias"]

    def test_bias_and_embeddings_learn(self, tmp_path: Path) -> None:
        make_tiny_t5(tmp_path)
        model = SpladeModel(load_backbone(tmp_path))
        model.activations(*batch(model.vocab_size)).sum().backward()
        assert model.head.bias.grad is not None and model.head.bias.grad.any()
        assert model.head.weight.grad is not None and model.head.weight.grad.any()
        names = [name for name, parameter in model.named_parameters() if parameter is model.head.weight]
        assert len(names) == 1

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        make_tiny_t5(tmp_path)
        state = load_file(str(tmp_path / "model.safetensors"))
        del state["encoder.final_layer_norm.weight"]
        save_file(state, str(tmp_path / "model.safetensors"), {"format": "pt"})
        with pytest.raises(ModelFormatError, match=r"encoder\.final_layer_norm\.weight"):
            load_backbone(tmp_path)


class TestEncoder:
    @settings(max_examples=25)
    @given(text=texts)
    def test_equals_the_definition_on_any_text(self, encoder: SpladeEncoder, checkpoint: tuple[Path, PreTrainedModel], text: str) -> None:
        tokenizer = load_tokenizer(checkpoint[0], encoder.vocab_size)
        expected = naive_vector(checkpoint[1], tokenizer.encode(text).ids, special_ids(tokenizer))
        np.testing.assert_allclose(dense(encoder.encode_document(text), encoder.vocab_size), expected, atol=1e-5)

    def test_sum_pooling(self, checkpoint: tuple[Path, PreTrainedModel]) -> None:
        folder, model = checkpoint
        tokenizer = load_tokenizer(folder, model.config.vocab_size)
        encoder = SpladeEncoder.load(folder, pooling="sum")
        expected = naive_vector(model, tokenizer.encode("imposto de renda").ids, special_ids(tokenizer), "sum")
        np.testing.assert_allclose(dense(encoder.encode_query("imposto de renda"), encoder.vocab_size), expected, atol=1e-4)

    def test_special_tokens_are_known_and_padding_is_id_zero(self, checkpoint: tuple[Path, PreTrainedModel]) -> None:
        tokenizer = load_tokenizer(checkpoint[0], checkpoint[1].config.vocab_size)
        assert special_ids(tokenizer) == [0, 1, 2, 3]
        assert padding_id(tokenizer) == 0

    def test_padding_changes_nothing(self, encoder: SpladeEncoder) -> None:
        batch = ["imposto", " ".join(WORDS[:30]), "a lei"]
        for together, text in zip(encoder.encode_documents(batch), batch, strict=True):
            alone = dense(encoder.encode_document(text), encoder.vocab_size)
            np.testing.assert_allclose(dense(together, encoder.vocab_size), alone, atol=1e-5)

    def test_truncation_keeps_the_end_token(self, checkpoint: tuple[Path, PreTrainedModel]) -> None:
        folder, model = checkpoint
        tokenizer = load_tokenizer(folder, model.config.vocab_size)
        encoder = SpladeEncoder.load(folder, max_length_document=8, on_long="truncate")
        ids = tokenizer.encode(" ".join(WORDS)).ids
        expected = naive_vector(model, [*ids[:7], 1], special_ids(tokenizer))
        np.testing.assert_allclose(dense(encoder.encode_document(" ".join(WORDS)), encoder.vocab_size), expected, atol=1e-5)

    def test_relative_positions_have_no_limit(self, checkpoint: tuple[Path, PreTrainedModel]) -> None:
        folder, model = checkpoint
        tokenizer = load_tokenizer(folder, model.config.vocab_size)
        encoder = SpladeEncoder.load(folder, max_length_document=1000)
        text = " ".join(WORDS * 8)
        ids = tokenizer.encode(text).ids
        assert len(ids) > 512
        expected = naive_vector(model, ids, special_ids(tokenizer))
        np.testing.assert_allclose(dense(encoder.encode_document(text), encoder.vocab_size), expected, atol=1e-4)

    @pytest.mark.filterwarnings(*EXPORTER)
    def test_the_exported_graph_agrees_at_every_length(self, checkpoint: tuple[Path, PreTrainedModel], tmp_path: Path) -> None:
        ours = SpladeEncoder.load(checkpoint[0], max_length_document=700)
        with torch.no_grad():
            ours.runtime.model.head.bias.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
        theirs = SpladeEncoder.load(ours.export_onnx(tmp_path / "model"))
        assert (theirs.runtime.name, theirs.fingerprint) == ("onnx", ours.fingerprint)
        batch = ["imposto", " ".join(WORDS), " ".join(WORDS * 8), "A lei, o prazo?"]
        for a, b in zip(ours.encode_documents(batch), theirs.encode_documents(batch), strict=True):
            np.testing.assert_allclose(dense(a, ours.vocab_size), dense(b, ours.vocab_size), atol=1e-4)

    def test_sentencepiece_files_alone_are_refused_with_a_way_out(self, tmp_path: Path) -> None:
        make_tiny_t5(tmp_path)
        (tmp_path / "tokenizer.json").rename(tmp_path / "spiece.model")
        with pytest.raises(ModelFormatError, match=r"spiece\.model"):
            SpladeEncoder.load(tmp_path)

    def test_a_positive_length_is_still_needed(self, checkpoint: tuple[Path, PreTrainedModel]) -> None:
        with pytest.raises(ConfigError, match="greater than 2"):
            SpladeEncoder.load(checkpoint[0], max_length_document=2)
