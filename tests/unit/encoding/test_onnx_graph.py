"""Attention as one operator: the same features, and only where padding is all that is masked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.encoding import onnx_graph
from splade_ptbr_connectors.encoding.onnx_graph import MASKED_BY_PADDING_ALONE, export_onnx, fuse_attention
from splade_ptbr_connectors.encoding.torch_model import SpladeModel, load_backbone

from .tiny import make_tiny_roberta, make_tiny_t5

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's exporter


def kinds(graph: onnx.GraphProto) -> list[str]:
    return [node.op_type for node in graph.node]


class Pair:
    """The features of one network, as exported and with its attention fused."""

    def __init__(self, folder: Path) -> None:
        self.model = SpladeModel(load_backbone(folder)).eval()
        self.written_out = onnx_graph._features_graph(self.model)
        self.fused = onnx.ModelProto.FromString(self.written_out.SerializeToString())
        self.layers = fuse_attention(self.fused, self.model.backbone.config.num_attention_heads)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.sessions = [ort.InferenceSession(each.SerializeToString(), options) for each in (self.written_out, self.fused)]


@pytest.fixture(scope="module", params=["bert", "roberta"])
def pair(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tiny_model if request.param == "bert" else make_tiny_roberta(tmp_path_factory.mktemp("roberta")))


def test_every_layer_is_one_operator(pair: Pair) -> None:
    assert pair.layers == pair.model.backbone.config.num_hidden_layers == kinds(pair.fused.graph).count("MultiHeadAttention")
    assert not {"Softmax", "IsNaN", "Where"} & set(kinds(pair.fused.graph))
    onnx.checker.check_model(pair.fused)


def test_nothing_is_left_that_nobody_reads(pair: Pair) -> None:
    graph = pair.fused.graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    assert all(read.intersection(node.output) for node in graph.node)
    assert {entry.name for entry in graph.initializer} <= read


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=6), holes=st.booleans(), seed=st.integers(0, 99))
def test_features_of_kept_tokens_are_those_of_torch_and_of_the_graph_written_out(
    pair: Pair, lengths: list[int], holes: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = random.integers(5, 60, mask.shape)
    if holes:
        mask[:, 1:] *= random.integers(0, 2, mask[:, 1:].shape)
    written_out, fused = (session.run(None, {"input_ids": ids, "attention_mask": mask})[0] for session in pair.sessions)
    with torch.inference_mode():
        features = pair.model.features(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    kept = mask.astype(bool)
    np.testing.assert_allclose(fused[kept], features[kept], atol=2e-5)
    np.testing.assert_allclose(fused[kept], written_out[kept], atol=2e-5)


def test_a_text_without_tokens_spoils_no_other(pair: Pair) -> None:
    ids, mask = np.full((2, 9), 7), np.array([[0] * 9, [1] * 9])
    both = pair.sessions[1].run(None, {"input_ids": ids, "attention_mask": mask})[0]
    alone = pair.sessions[1].run(None, {"input_ids": ids[1:], "attention_mask": mask[1:]})[0]
    assert np.isfinite(both).all()
    np.testing.assert_allclose(both[1], alone[0], atol=2e-5)


def test_other_families_stay_written_out(tmp_path: Path) -> None:
    """T5 adds a bias of positions to its scores: the operator's mask would lose it."""
    make_tiny_t5(tmp_path)
    model = SpladeModel(load_backbone(tmp_path)).eval()
    assert model.backbone.config.model_type not in MASKED_BY_PADDING_ALONE
    export_onnx(model, tmp_path / "model.onnx")
    assert "MultiHeadAttention" not in kinds(onnx.load(tmp_path / "model.onnx").graph)


def test_a_graph_without_attention_stays_as_it_is() -> None:
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Softmax", ["inputs"], ["outputs"])
    ends = [[info(name, onnx.TensorProto.FLOAT, ["L"])] for name in ("inputs", "outputs")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "softmax", *ends))
    before = model.SerializeToString()
    assert fuse_attention(model, 4) == 0
    assert model.SerializeToString() == before
