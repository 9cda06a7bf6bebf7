"""The shipped model without a network: it bridges from lay words to those of the text, on the processor alone."""

from __future__ import annotations

import pytest

from splade_ptbr_connectors import SpladeEncoder

TEXTS = [
    "A insônia crônica é tratada com higiene do sono e terapia cognitivo-comportamental.",
    "O empregado demitido sem justa causa tem direito a aviso prévio e à multa do FGTS.",
    "A declaração de ajuste anual do imposto sobre a renda é entregue até o fim de maio.",
    "O cultivo em vasos exige substrato leve, rega diária e luz direta na varanda.",
]


@pytest.fixture(scope="module")
def model() -> SpladeEncoder:
    return SpladeEncoder.load("mini-lexico")


@pytest.mark.parametrize(
    ("query", "right"),
    [("não consigo dormir de noite", 0), ("o chefe me mandou embora, o que eu recebo?", 1), ("prazo para declarar imposto de renda", 2)],
)
def test_lay_words_find_the_text(model: SpladeEncoder, query: str, right: int) -> None:
    asked = model.encode_query(query)
    scores = [asked.dot(document) for document in model.encode_documents(TEXTS)]
    assert scores.index(max(scores)) == right and scores[right] > 0


def test_added_terms_are_words_that_can_be_read(model: SpladeEncoder) -> None:
    added = dict(model.decode(model.encode_query("não consigo dormir de noite")))
    assert {"insonia", "sono"} <= added.keys() and len(added) <= 40


def test_batches_and_order_change_nothing(model: SpladeEncoder) -> None:
    for text, vector in zip(TEXTS, model.encode_documents(TEXTS), strict=True):
        assert model.encode_document(text) == vector
    for text, vector in zip(TEXTS, model.encode_queries(TEXTS), strict=True):
        assert model.encode_query(text) == vector


def test_it_runs_without_a_network(model: SpladeEncoder) -> None:
    assert model.runtime.name == "numpy" and model.query_runtime.name == "numpy"
