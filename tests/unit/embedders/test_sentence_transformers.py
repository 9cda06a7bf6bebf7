"""Models of this package in sentence-transformers: the encoder's vectors, or a clear refusal, and never others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder

from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.encoding.folder import SHIPPED, shipped_models
from splade_ptbr_connectors.errors import ConfigError, TextError
from splade_ptbr_connectors.sentence_transformers import SpladeModule, sparse_encoder
from tests.support.encoders import HashingEncoder
from tests.support.pages import run_block

ENCODER = HashingEncoder(vocab_size=64)
MODEL = sparse_encoder(ENCODER, device="cpu")
TEXTS = ["prazo para recorrer de multa", "O prazo é de 30 dias. " * 100, "", "multa"]


def rows(found: torch.Tensor) -> list[SparseVector]:
    return [SparseVector.from_torch(row.to_dense()) for row in found]


@given(st.lists(st.text("prazo da multa "), min_size=1, max_size=5), st.integers(1, 3))
def test_vectors_are_the_encoders(texts: list[str], batch_size: int) -> None:
    expected = list(ENCODER.encode_documents(texts))
    for method in (MODEL.encode, MODEL.encode_query, MODEL.encode_document):
        found = method(texts, batch_size=batch_size)
        assert found.is_sparse and found.shape == (len(texts), 64) and rows(found) == expected
    assert MODEL.encode_query(texts[0]).shape == (64,)


def test_queries_and_documents_go_their_own_ways() -> None:
    encoder = HashingEncoder()
    model = sparse_encoder(encoder, device="cpu")
    model.encode_query(["a"]), model.encode_document(["a"]), model.encode(["a"])
    assert encoder.calls == {"encode_queries": 1, "encode_documents": 2}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_scores_tokens_and_sparsity() -> None:
    vectors = list(ENCODER.encode_documents(TEXTS))
    found = MODEL.encode_document(TEXTS)
    scores = MODEL.similarity(MODEL.encode_query(TEXTS), found)
    assert torch.allclose(scores, torch.tensor([[one.dot(other) for other in vectors] for one in vectors]))
    [again] = rows(MODEL.encode_document(["multa multa prazo"]))
    [multa] = ENCODER.encode_query("multa").to_dict()
    assert MODEL.decode(MODEL.encode_document("multa multa prazo"), top_k=1) == [(f"<{multa}>", again.to_dict()[multa])]
    assert MODEL.sparsity(found)["active_dims"] == sum(map(len, vectors)) / len(vectors)
    assert (MODEL.get_embedding_dimension(), MODEL.max_seq_length, MODEL.similarity_fn_name) == (64, None, "dot")
    [most] = rows(MODEL.encode_document(["multa multa prazo"], max_active_dims=1))
    assert most == again.prune(max_terms=1)
    assert rows(MODEL.encode(["multa"], prompt="prazo ")) == [ENCODER.encode_query("prazo multa")]


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_folder_is_computed_by_this_package_or_refused(name: str) -> None:
    folder = str(SHIPPED / name)
    with pytest.raises(ValueError, match=r"(?s)'splade_ptbr_connectors\.sentence_transformers\.SpladeModule'.*trust_remote_code"):
        SparseEncoder(folder, device="cpu")
    model, encoder = SparseEncoder(folder, device="cpu", trust_remote_code=True), SpladeEncoder.load(name)
    for found, expected in (
        (model.encode_query(TEXTS), encoder.encode_queries(TEXTS)),
        (model.encode_document(TEXTS), encoder.encode_documents(TEXTS)),
    ):
        for mine, theirs in zip(rows(found), expected, strict=True):
            assert mine.to_dict() == pytest.approx(theirs.to_dict(), abs=1e-5)
    assert model.similarity_fn_name == "dot" and model.decode(model.encode_query("multa"), 1)[0][0].startswith("mult")


def test_what_cannot_be_done_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"an input is \('a', 'b'\)"):
        MODEL.encode([("a", "b")])
    with pytest.raises(ConfigError, match="saved by copying its folder"):
        MODEL.save(str(tmp_path / "model"))
    assert isinstance(MODEL[0], SpladeModule) and not list(MODEL.parameters())


def test_what_the_page_shows_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_block("docs/encoders.md", "sentence_transformers")
    out = capsys.readouterr().out
    assert "tensor" in out and "active_dims" in out
