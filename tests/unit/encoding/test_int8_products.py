"""Products in int8: exact where rows and matrix are whole numbers, else off by rounding; a row at a time; another fingerprint."""

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
from splade_ptbr_connectors.encoding.int8_products import LEVELS, multiply_in_int8

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


def in_int8(weight: np.ndarray) -> onnx.ModelProto:
    model = product_graph(weight)
    multiply_in_int8(model)
    onnx.checker.check_model(model)
    return model


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), hidden=st.integers(2, 64), columns=st.integers(1, 30))
def test_a_product_is_off_by_rounding_only(seed: int, hidden: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(hidden, columns)) * 10 ** random.uniform(-2, 2, columns)).astype(np.float32)  # columns of any scale
    inputs = (random.normal(size=(5, hidden)) * 10 ** random.uniform(-3, 3, (5, 1))).astype(np.float32)  # and rows
    half_in, half_weight = np.ptp(inputs, axis=1, keepdims=True) / LEVELS / 2, np.abs(weight).max(0) / 127 / 2
    bound = half_in * np.abs(weight).sum(0) + (np.abs(inputs).sum(1, keepdims=True) + hidden * half_in) * half_weight
    assert (np.abs(run(in_int8(weight), inputs) - inputs @ weight) <= 1.01 * bound + 1e-6).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), hidden=st.integers(2, 1_600), low=st.integers(-200, 200), extreme=st.booleans())
def test_whole_numbers_are_multiplied_exactly(seed: int, hidden: int, low: int, extreme: bool) -> None:
    random = np.random.default_rng(seed)
    pick = [0, LEVELS] if extreme else range(LEVELS + 1)  # at the ends, sums of two products are as large as they get
    rows = random.choice(pick, size=(3, hidden))
    rows[:, 0], rows[:, -1] = 0, LEVELS
    weight = random.choice([-127, 127] if extreme else range(-127, 128), size=(hidden, 4))
    weight[0] = 127
    found = run(in_int8(weight.astype(np.float32)), (rows + low).astype(np.float32))
    np.testing.assert_allclose(found, (rows + low) @ weight, rtol=1e-6, atol=4)  # float32 adds numbers of up to 5e7


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    random = np.random.default_rng(0)
    model = in_int8(random.normal(size=(96, 64)).astype(np.float32))
    rows = (random.normal(size=(40, 96)) * 10 ** random.uniform(-3, 3, (40, 1))).astype(np.float32)
    np.testing.assert_array_equal(run(model, rows), np.concatenate([run(model, row[None]) for row in rows]))


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-20, 1e30])
def test_a_row_of_one_number_keeps_it(value: float) -> None:
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = run(in_int8(weight), np.full((2, 4), value, np.float32))
    np.testing.assert_allclose(found, np.full((2, 4), value, np.float32) @ weight, rtol=0.01)


def test_a_product_by_a_vector_stays_as_it_is() -> None:
    weight = np.linspace(-1, 1, 16, dtype=np.float32)
    assert [node.op_type for node in in_int8(weight).graph.node] == ["MatMul"]


def test_a_matrix_that_is_read_elsewhere_stays() -> None:
    weight, model = np.eye(5, dtype=np.float32), product_graph(np.eye(5, dtype=np.float32))
    model.graph.node.append(helper.make_node("Add", ["outputs", "weight"], ["sums"]))
    model.graph.output[0].name = "sums"
    multiply_in_int8(model)
    np.testing.assert_allclose(run(model, weight), 2 * weight, atol=0.02)


def test_a_product_of_a_product_is_one_too() -> None:
    weight, model = np.eye(5, dtype=np.float32), product_graph(np.eye(5, dtype=np.float32))
    model.graph.node.append(helper.make_node("MatMul", ["outputs", "weight"], ["squares"]))
    model.graph.output[0].name = "squares"
    multiply_in_int8(model)
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(model, weight), weight, atol=0.02)


def test_a_matrix_by_a_matrix_is_a_product() -> None:
    model = product_graph(np.eye(5, dtype=np.float32))
    model.graph.node.append(helper.make_node("MatMul", ["weight", "weight"], ["square"]))
    model.graph.node.append(helper.make_node("Add", ["outputs", "square"], ["sums"]))
    model.graph.output[0].name = "sums"
    multiply_in_int8(model)
    np.testing.assert_allclose(run(model, np.eye(5, dtype=np.float32)), 2 * np.eye(5), atol=0.02)


def test_matrices_are_stored_in_the_order_of_their_products() -> None:
    names = [f"weight{n}" for n in range(8)]  # in the order of a set, two exports of a model would be two files
    model = product_graph(np.eye(5, dtype=np.float32))
    del model.graph.initializer[:], model.graph.node[:]
    for name in names:
        model.graph.initializer.append(numpy_helper.from_array(np.eye(5, dtype=np.float32), name))
        model.graph.node.append(helper.make_node("MatMul", ["inputs", name], [f"by_{name}"]))
    multiply_in_int8(model)
    stored = [entry.name for entry in model.graph.initializer if entry.name.endswith("_int8")]
    assert stored == [f"{name}_int8" for name in names]


class TestExport:
    @pytest.fixture(scope="class")
    def folder(self, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return SpladeEncoder.load(tiny_model, runtime="torch").export_onnx(tmp_path_factory.mktemp("q") / "m", storage="int8-dynamic")

    def test_it_loads_as_another_model(self, folder: Path, tiny_model: Path) -> None:
        exported = SpladeEncoder.load(folder)
        assert exported.runtime.name == "onnx"
        assert exported.fingerprint != SpladeEncoder.load(tiny_model, preload=False).fingerprint
        assert exported.fingerprint == SpladeEncoder.load(folder, preload=False).fingerprint

    def test_a_text_has_the_same_vector_beside_any_other(self, folder: Path) -> None:
        encoder, texts = SpladeEncoder.load(folder), ["imposto", "o prazo da declaração do imposto", "água"]
        alone = [encoder.encode_documents([text]) for text in texts]
        for (vector,), beside in zip(map(list, alone), encoder.encode_documents(texts), strict=True):
            np.testing.assert_array_equal(vector.term_ids, beside.term_ids)
            np.testing.assert_allclose(vector.weights, beside.weights, rtol=1e-4)

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
        assert "MatMulIntegerToFloat" in kinds
        assert "MatMul" not in kinds
