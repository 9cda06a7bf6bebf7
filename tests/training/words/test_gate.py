"""The gate in training and the gate in the package are one function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.edge_features import Describer
from splade_ptbr_connectors.encoding.expansion import unit_vectors
from splade_ptbr_connectors.encoding.thesaurus import EQUIVALENT, HEAD
from tests.unit.encoding.words_model import IDS, SENSES, WEIGHTS, make_words_model, thesaurus, vectors
from training.words.gate import Gate, Tables, blind_gate, prepare

QUERIES = [["insonia"], ["dor", "cabeca", "remedio"], ["imposto", "prazo"], ["dormir", "noite", "insonia", "medico"], []]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_torch_and_numpy_agree(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    gate = Gate(hidden=6, projected=3, vector_size=4)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made, weights = thesaurus(), WEIGHTS.astype(np.float32)
    describer = Describer(made, weights, unit_vectors(vectors()))
    tables = Tables(torch.from_numpy(weights), torch.from_numpy(describer.expressions))
    prepared = [prepare(np.array([IDS[word] for word in query], np.int64), describer, made) for query in QUERIES]
    with torch.no_grad():
        found, ends = gate(prepared, tables)
    encoder = SpladeEncoder.load(make_words_model(tmp_path / "model", expansion=gate.tensors()))
    for query, one, values in zip(QUERIES, prepared, np.split(found.numpy(), ends[:-1]), strict=True):
        expected = {int(term): float(weight) for term, weight in zip(one.terms, values, strict=True) if weight > 1e-6}
        vector = {term: weight for term, weight in encoder.encode_query(" ".join(query)).to_dict().items() if weight > 1e-6}
        assert vector == pytest.approx(expected, rel=1e-4)


def test_the_blind_gate_adds_every_edge_with_its_share(tmp_path: Path) -> None:
    model = make_words_model(tmp_path / "model", expansion=blind_gate(0.3, 0.1, 4))
    found = SpladeEncoder.load(model).encode_query("insônia").to_dict()
    for words, role in SENSES[0].items():
        share = {HEAD: 1.0, EQUIVALENT: 0.3}.get(role, 0.1)
        assert found[IDS[words[0]]] == pytest.approx(share * float(WEIGHTS[IDS[words[0]]]), rel=1e-4)
