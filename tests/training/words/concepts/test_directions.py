"""A few concepts stand for whole embeddings: what is near by cosine has a high score, and training makes that truer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from training.recipe.concepts import Concepts
from training.words.concepts.directions import Embedded, fit_directions, start_directions
from training.words.concepts.names import names_of

rng = np.random.default_rng(0)
CENTRES = rng.normal(size=(20, 12)).astype(np.float32)


def rows(count: int) -> np.ndarray:
    found = CENTRES[rng.integers(20, size=count)] + rng.normal(size=(count, 12)).astype(np.float32) * 0.5
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def agreement(steps: int) -> float:
    """Correlation of scores and cosines over all pairs of texts that were not trained on."""
    import torch

    section = Concepts(teacher="-", size=64, top_query=6, top_document=12, directions_steps=steps, neighbours=8, directions_lr=5e-3)
    queries, documents = rows(400), rows(400)
    terms = sparse.csr_matrix((rng.random((400, 80)) < 0.1).astype(np.float32))
    start, cosine = start_directions(documents, terms, 64), np.eye(12, dtype=np.float32)
    directions = fit_directions(start, cosine, Embedded(queries, documents, 100), section)
    with torch.inference_mode():
        codes = [directions.queries(torch.from_numpy(asked := rows(200))), directions.documents(torch.from_numpy(held := rows(200)))]
    assert (codes[0] > 0).sum(1).max() <= 6 and (codes[1] > 0).sum(1).max() <= 12
    return float(np.corrcoef((codes[0] @ codes[1].T).numpy().ravel(), (asked @ held.T).ravel())[0, 1])


def test_scores_follow_cosines() -> None:
    before, after = agreement(1), agreement(300)
    assert after > before + 0.1 and after > 0.6


def test_names_are_the_words_of_a_concepts_texts() -> None:
    codes, terms = np.zeros((12, 3), np.float32), np.zeros((12, 4), np.float32)
    codes[:6, 0], codes[6:, 1] = 1, 1
    terms[:6, [0, 1]], terms[6:, [2, 3]] = 1, 1
    terms[6, 3] = terms[0, 1] = 3
    found = names_of(sparse.csr_matrix(codes), sparse.csr_matrix(terms), ["sono", "noite", "carro", "rua"])
    assert found[:2] == ["≈noite·sono", "≈rua·carro"] and len(set(found)) == 3


def test_names_that_are_taken_get_a_mark() -> None:
    codes, terms = sparse.csr_matrix(np.ones((9, 3), np.float32)), sparse.csr_matrix(np.ones((9, 2), np.float32))
    assert names_of(codes, terms, ["sono", "noite"]) == ["≈sono·noite", "≈sono·noite'", "≈sono·noite''"]


@pytest.mark.parametrize("count", [1, 255, 256, 257])
def test_any_number_of_concepts_is_named(count: int) -> None:
    codes, terms = sparse.csr_matrix(rng.random((9, count)).astype(np.float32)), sparse.csr_matrix(rng.random((9, 5)).astype(np.float32))
    assert len(set(names_of(codes, terms, list("abcde")))) == count
