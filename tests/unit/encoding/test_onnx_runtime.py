"""A batch is run in pieces: nothing is lost between them, and every row gets what it gets alone."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding import onnx_runtime
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.onnx_runtime import PIECE_TOKENS, OnnxRuntime, _pieces

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
    with pytest.warns():  # torch's exporter about its own parts
        SpladeEncoder.load(tiny_model, runtime="torch").export_onnx(folder)
    return OnnxRuntime(find_model(folder))


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_a_batch_in_pieces_equals_its_rows_alone(runtime: OnnxRuntime, lengths: list[int], seed: int) -> None:
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(seed).integers(5, 100, mask.shape) * mask
    alone = [runtime._run(ids[[row], :length], mask[[row], :length])[0] for row, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_runtime, "PIECE_TOKENS", 64)
        together = runtime.activations(ids, mask)
    assert together.max() > 0.01
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


_FORKED = """
import os, signal, sys
from splade_ptbr_connectors import SpladeEncoder
encoder, texts = SpladeEncoder.load("mini"), [f"imposto de renda e prazo {n} " * 20 for n in range(32)]
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
