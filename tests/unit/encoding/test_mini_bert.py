"""The model that ships in the package, on the sample that ships in the package."""

from __future__ import annotations

import numpy as np
import pytest

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.demo.sample import read_corpus

TEXTS = [record["text"] for record in read_corpus()][:24]


@pytest.fixture(scope="module")
def mini() -> SpladeEncoder:
    return SpladeEncoder.load("mini-bert")


def test_both_runtimes_are_one_model(mini: SpladeEncoder) -> None:
    other = SpladeEncoder.load("mini-bert", runtime="torch")
    assert (mini.runtime.name, other.runtime.name) == ("onnx", "torch")
    assert mini.fingerprint == other.fingerprint
    for ours, theirs in zip(mini.encode_documents(TEXTS), other.encode_documents(TEXTS), strict=True):
        np.testing.assert_allclose(ours.to_scipy(mini.vocab_size).toarray(), theirs.to_scipy(mini.vocab_size).toarray(), atol=1e-4)


def test_batches_and_order_change_nothing(mini: SpladeEncoder) -> None:
    together = list(mini.encode_documents(TEXTS))
    for text, vector in zip(TEXTS, together, strict=True):
        alone = mini.encode_document(text)
        assert alone.term_ids.tolist() == vector.term_ids.tolist()
        np.testing.assert_allclose(alone.weights, vector.weights, atol=1e-6)


@pytest.mark.parametrize(("query", "document"), [("declarar impostos", "A declaração do imposto."), ("VACINAS", "tomar a vacina")])
def test_inflections_and_case_meet(mini: SpladeEncoder, query: str, document: str) -> None:
    assert mini.explain(query, document).score > 1.0


def test_stop_words_weigh_nothing(mini: SpladeEncoder) -> None:
    assert len(mini.encode_query("o que é isso de que ele nos fala?")) < len(mini.encode_query("prazo multa recurso notificação fala"))
