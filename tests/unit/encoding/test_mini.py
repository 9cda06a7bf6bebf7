"""The model that ships in the package: it finds what people mean, in words or by what a text is about."""

from __future__ import annotations

import numpy as np
import pytest

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.demo.sample import read_corpus

TEXTS = [record["text"] for record in read_corpus()][:24]
ANSWERS = [
    "A insônia crônica é tratada com higiene do sono e terapia cognitivo-comportamental.",
    "O empregado demitido sem justa causa tem direito a aviso prévio e à multa do FGTS.",
    "A declaração de ajuste anual do imposto sobre a renda é entregue até o fim de maio.",
    "O cultivo em vasos exige substrato leve, rega diária e luz direta na varanda.",
]


@pytest.fixture(scope="module")
def mini() -> SpladeEncoder:
    return SpladeEncoder.load("mini")


@pytest.mark.parametrize(
    ("query", "right"),
    [
        ("não consigo dormir de noite", 0),
        ("o chefe me mandou embora, o que eu recebo?", 1),
        ("prazo para declarar imposto de renda", 2),
        ("plantar tomates em apartamento", 3),
    ],
)
def test_lay_words_find_the_text(mini: SpladeEncoder, query: str, right: int) -> None:
    asked = mini.encode_query(query)
    scores = [asked.dot(document) for document in mini.encode_documents(ANSWERS)]
    assert scores.index(max(scores)) == right and scores[right] > 0


def test_batches_and_order_change_nothing(mini: SpladeEncoder) -> None:
    """But for the last bits of sums; which may decide on the last of a text's concepts, the lightest of them."""
    for text, vector in zip(TEXTS, list(mini.encode_documents(TEXTS)), strict=True):
        ours, theirs = (one.to_scipy(mini.vocab_size).toarray() for one in (mini.encode_document(text), vector))
        np.testing.assert_allclose(np.sort(ours)[::-1], np.sort(theirs)[::-1], atol=1e-3)
        assert (np.abs(ours - theirs) > 1e-3).sum() <= 2


def test_vectors_stay_sparse(mini: SpladeEncoder) -> None:
    assert all(len(vector) <= 72 for vector in mini.encode_queries(TEXTS))
    assert np.mean([len(vector) for vector in mini.encode_documents(TEXTS)]) <= 250


@pytest.mark.parametrize(("query", "document"), [("declarar impostos", "A declaração do imposto."), ("VACINAS", "tomar a vacina")])
def test_inflections_and_case_meet(mini: SpladeEncoder, query: str, document: str) -> None:
    assert mini.explain(query, document).score > 1.0


def test_it_runs_without_torch(mini: SpladeEncoder) -> None:
    assert mini.runtime.name == "onnx" and mini.query_runtime.name == "onnx"
