"""The exported graph computes what torch computes, for every batch size and length."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

from splade_ptbr_connectors.encoding.onnx_graph import export_onnx  # noqa: E402
from splade_ptbr_connectors.encoding.quantization import round_model, round_rows  # noqa: E402
from splade_ptbr_connectors.encoding.torch_model import SpladeModel  # noqa: E402
from splade_ptbr_connectors.errors import ConfigError  # noqa: E402
from tests.training.models.test_torch_model import batch, lexical_channel, tiny_bert  # noqa: E402


@pytest.mark.parametrize(
    ("pooling", "lexical", "storage"),
    [("max", False, "float32"), ("sum", False, "float16"), ("max", True, "int8")],
)
def test_parity(tmp_path: Path, pooling: str, lexical: bool, storage: str) -> None:
    channel = lexical_channel(importance=True, neighbours=True) if lexical else None
    model = SpladeModel(tiny_bert(), lexical=channel, pooling=pooling).eval()
    round_model(model, storage)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_onnx(model, path, storage=storage)
    session = ort.InferenceSession(str(path))
    for rows, length in ((1, 4), (3, 9), (2, 40)):
        ids, mask = batch(rows, rows=rows, length=length)
        with torch.no_grad():
            expected = model.activations(ids, mask).numpy()
        (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert expected.max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_parity_when_every_matrix_is_stored_small(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime must not turn small storage into small arithmetic."""
    monkeypatch.setattr("splade_ptbr_connectors.encoding.quantization._LARGE", 16)
    model = SpladeModel(tiny_bert(), lexical=lexical_channel(importance=True, neighbours=True), expansion=False).eval()
    round_model(model, storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_onnx(model, tmp_path / "model.onnx", storage=storage)
    ids, mask = batch(5, rows=4, length=40)
    with torch.no_grad():
        expected = model.activations(ids, mask).numpy()
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    (found,) = ort.InferenceSession(str(tmp_path / "model.onnx")).run(None, feed)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rounded_rows_are_exact_in_float16() -> None:
    weights = torch.randn(50, 16, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 1, 50).unsqueeze(1)
    rounded = round_rows(weights)
    assert torch.equal(rounded, rounded.to(torch.float16).to(torch.float32))
    assert torch.equal(round_rows(rounded), rounded)
    assert ((rounded - weights).abs() <= weights.abs().amax(1, keepdim=True) / 127 + 1e-7).all()


def test_unknown_storage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="int8"):
        export_onnx(SpladeModel(tiny_bert()), tmp_path / "model.onnx", storage="int4")
