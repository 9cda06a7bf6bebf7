"""A batch is run in pieces: nothing is lost between them, and every row gets what it gets alone."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.folder import ModelFolder, find_model
from splade_ptbr_connectors.encoding.runtime import PIECE_TOKENS, OnnxRuntime, _pieces
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError

masks = st.tuples(st.integers(1, 40), st.integers(1, 300)).flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 1)))


@given(mask=masks)
def test_pieces_are_all_rows_in_order_with_every_kept_token(mask: np.ndarray) -> None:
    pieces = list(_pieces(mask))
    assert [row for rows, _ in pieces for row in range(rows.start, rows.stop)] == list(range(len(mask)))
    for rows, length in pieces:
        assert 1 <= length <= mask.shape[1]
        assert not mask[rows, length:].any()
        assert mask[rows, length - 1].any() or length == 1
        assert rows.stop - rows.start == 1 or (rows.stop - rows.start) * length <= PIECE_TOKENS


@given(lengths=st.lists(st.integers(1, 250), min_size=2, max_size=40))
def test_no_piece_could_take_the_next_row_as_well(lengths: list[int]) -> None:
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    pieces = list(_pieces(mask))
    for (rows, length), (following, _) in pairwise(pieces):
        assert max(length, lengths[following.start]) * (rows.stop - rows.start + 1) > PIECE_TOKENS


@pytest.fixture(scope="module")
def runtime(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    folder = tmp_path_factory.mktemp("onnx") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter about its own parts
        SpladeEncoder.load(tiny_model, runtime="torch").export_onnx(folder)
    return OnnxRuntime(find_model(folder))


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_a_batch_in_pieces_equals_its_rows_alone(runtime: OnnxRuntime, lengths: list[int], seed: int) -> None:
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(seed).integers(5, 100, mask.shape) * mask
    alone = [runtime._run(ids[[row], :length], mask[[row], :length])[0] for row, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splade_ptbr_connectors.encoding.runtime.PIECE_TOKENS", 64)
        together = runtime.activations(ids, mask)
    assert together.max() > 0.01
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


_FORKED = """
import os, signal, sys
from splade_ptbr_connectors import SpladeEncoder
encoder, texts = SpladeEncoder.load("mini-bert"), [f"imposto de renda e prazo {n} " * 20 for n in range(32)]
encoder.runtime._parallel = 2
before = list(encoder.encode_documents(texts))
child = os.fork()
if not child:
    signal.alarm(60)  # a child that waits for ever is ended by it
    os._exit(0 if list(encoder.encode_documents(texts)) == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_encodes_as_its_parent_did() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def graph(path: Path, shape: tuple[int, ...], inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> None:
    """A graph that gives zeros of this shape, whatever it is given."""
    infos = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["B", "L"]) for name in inputs]
    zeros = onnx.helper.make_node("Constant", [], ["activations"], value=onnx.numpy_helper.from_array(np.zeros(shape, np.float32)))
    output = onnx.helper.make_tensor_value_info("activations", onnx.TensorProto.FLOAT, ["B"] * len(shape))
    made = onnx.helper.make_graph([zeros], "zeros", infos, [output])
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.parametrize(
    ("shape", "inputs"),
    [((1, 7), ("input_ids", "attention_mask")), ((1, 1, 9), ("input_ids", "attention_mask")), ((1, 9), ("input_ids", "token_type_ids"))],
)
def test_a_graph_of_another_kind_is_a_typed_error(tmp_path: Path, shape: tuple[int, ...], inputs: tuple[str, ...]) -> None:
    graph(tmp_path / "model.onnx", shape, inputs)
    folder = ModelFolder("x", tmp_path, EncoderConfig(vocab_size=9))
    with pytest.raises(ModelFormatError, match=r"model.onnx (cannot be run|does not give 9 activations|gives 7 terms)"):
        OnnxRuntime(folder).activations(np.ones((1, 3), np.int64), np.ones((1, 3), np.int64))


def test_a_device_that_is_not_there_is_no_fault_of_the_model(tmp_path: Path) -> None:
    graph(tmp_path / "model.onnx", (1, 9))
    with pytest.raises(ConfigError, match="device 'abacus' is not available"):
        OnnxRuntime(ModelFolder("x", tmp_path, EncoderConfig(vocab_size=9)), "abacus")
