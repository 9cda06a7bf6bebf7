"""The exported graph against the torch runtime it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, InputFileError, ModelFormatError
from tests.conftest import WORDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's exporter
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=80).map(" ".join)


@pytest.fixture(scope="module", params=["max", "sum"])
def pair(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SpladeEncoder, SpladeEncoder]:
    torch_encoder = SpladeEncoder.load(tiny_model, pooling=request.param)
    out = torch_encoder.export_onnx(tmp_path_factory.mktemp("export") / "model")
    return torch_encoder, SpladeEncoder.load(out)


def test_no_torch_is_needed_and_the_fingerprint_stays(pair: tuple[SpladeEncoder, SpladeEncoder]) -> None:
    torch_encoder, onnx_encoder = pair
    assert (torch_encoder.runtime.name, onnx_encoder.runtime.name) == ("torch", "onnx")
    assert onnx_encoder.fingerprint == torch_encoder.fingerprint


@settings(max_examples=15)
@given(batch=st.lists(texts, min_size=1, max_size=5))
def test_both_runtimes_agree(pair: tuple[SpladeEncoder, SpladeEncoder], batch: list[str]) -> None:
    ours, theirs = ([v.to_scipy(e.vocab_size).toarray() for v in e.encode_documents(batch)] for e in pair)
    np.testing.assert_allclose(np.vstack(ours), np.vstack(theirs), atol=1e-4)


def test_the_graph_pools_itself(pair: tuple[SpladeEncoder, SpladeEncoder]) -> None:
    graph = onnx.load(pair[1]._folder.path / "model.onnx").graph
    assert [len(o.type.tensor_type.shape.dim) for o in graph.output] == [2]
    assert {i.name for i in graph.input} == {"input_ids", "attention_mask"}


def test_the_graph_tells_nothing_of_the_machine_that_made_it(pair: tuple[SpladeEncoder, SpladeEncoder]) -> None:
    data = (pair[1]._folder.path / "model.onnx").read_bytes()
    assert b"site-packages" not in data
    assert str(Path(__file__).parents[3]).encode() not in data


def test_small_storages_stay_near_and_have_their_own_fingerprint(tiny_model: Path, tmp_path: Path) -> None:
    expected = SpladeEncoder.load(tiny_model)
    exported = SpladeEncoder.load(SpladeEncoder.load(tiny_model).export_onnx(tmp_path / "half", storage="float16"))
    assert exported.fingerprint != expected.fingerprint
    a, b = (e.encode_document("imposto de renda").to_scipy(e.vocab_size).toarray()[0] for e in (expected, exported))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


def test_refusals(pair: tuple[SpladeEncoder, SpladeEncoder], tmp_path: Path) -> None:
    torch_encoder, onnx_encoder = pair
    with pytest.raises(ConfigError, match="is exported already: use it as it is, or copy its folder"):
        onnx_encoder.export_onnx(tmp_path / "again")
    with pytest.raises(ConfigError, match="runtime='torch'"):
        SpladeEncoder.load("mini-bert", runtime="onnx").export_onnx(tmp_path / "again")
    with pytest.raises(InputFileError, match="exists already"):
        torch_encoder.export_onnx(tmp_path)
    with pytest.raises(ConfigError, match="storage is 'int3'"):
        torch_encoder.export_onnx(tmp_path / "new", storage="int3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="torch runtime"):
        SpladeEncoder.load(onnx_encoder._folder.path, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_another_graph_than_the_one_described_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    out = SpladeEncoder.load(tiny_model).export_onnx(tmp_path / "model")
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(ModelFormatError, match="not the graph"):
        SpladeEncoder.load(out)
