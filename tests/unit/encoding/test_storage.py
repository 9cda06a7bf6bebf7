"""Products in int8: near the float graph, another fingerprint, and only products by matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.storage import quantise

from .tiny import dense

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's exporter


def product_graph(weight: np.ndarray) -> onnx.ModelProto:
    """inputs [L, H] -> inputs @ weight."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["inputs", "weight"], ["outputs"], name="product")],
        "product",
        [info("inputs", TensorProto.FLOAT, ["L", len(weight)])],
        [info("outputs", TensorProto.FLOAT, ["L", *weight.shape[1:]])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"inputs": inputs})[0]


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), hidden=st.integers(2, 64), columns=st.integers(1, 30))
def test_a_product_is_off_by_rounding_only(seed: int, hidden: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(hidden, columns)) * 10 ** random.uniform(-2, 2, columns)).astype(np.float32)  # columns of any scale
    inputs = random.normal(size=(5, hidden)).astype(np.float32)
    # half a step (1.1: the library's own slack) of an input in 255, a weight in 127 on either side of 0, for each of H terms
    step_in = (max(inputs.max(), 0) - min(inputs.min(), 0)) / 255
    step_weight = np.abs(weight).max(0) / 127
    bound = 1.1 * hidden * (step_in * np.abs(weight).max(0) + np.abs(inputs).max() * step_weight)
    difference = np.abs(run(quantise(product_graph(weight)), inputs) - inputs @ weight)
    assert (difference <= bound).all()


def test_a_product_by_a_vector_stays_as_it_is() -> None:
    weight, inputs = np.linspace(-1, 1, 16, dtype=np.float32), np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    model = quantise(product_graph(weight))
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    np.testing.assert_array_equal(run(model, inputs), run(product_graph(weight), inputs))


class TestExport:
    @pytest.fixture(scope="class")
    def folder(self, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return SpladeEncoder.load(tiny_model, runtime="torch").export_onnx(tmp_path_factory.mktemp("q") / "m", storage="int8-dynamic")

    def test_it_loads_as_another_model(self, folder: Path, tiny_model: Path) -> None:
        exported = SpladeEncoder.load(folder)
        assert exported.runtime.name == "onnx"
        assert exported.fingerprint != SpladeEncoder.load(tiny_model, preload=False).fingerprint
        assert exported.fingerprint == SpladeEncoder.load(folder, preload=False).fingerprint

    def test_its_vectors_are_near(self, folder: Path, tiny_model: Path) -> None:
        texts = ["imposto de renda", "o prazo da declaração", "água do rio e do mar na cidade"]
        ours, theirs = (
            np.stack([dense(vector, encoder.vocab_size) for vector in encoder.encode_documents(texts)])
            for encoder in (SpladeEncoder.load(folder), SpladeEncoder.load(tiny_model))
        )
        cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        assert (ours != theirs).any()
        assert cosines.min() > 0.97

    def test_the_output_projection_is_one_of_the_products(self, folder: Path) -> None:
        graph = onnx.load(folder / "model.onnx").graph
        (scan,) = [node for node in graph.node if node.op_type == "Scan"]
        kinds = [node.op_type for node in next(a.g for a in scan.attribute if a.name == "body").node]
        assert "MatMulInteger" in kinds
        assert "MatMul" not in kinds
