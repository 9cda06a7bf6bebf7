"""Moments are those of all pairs, written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from training.words.concepts.moments import SMALLEST_DEVIATION, moments_of


def test_moments_are_correlations_and_covariances_with_similarity() -> None:
    rng = np.random.default_rng(0)
    codes, documents = np.maximum(rng.normal(size=(300, 7)), 0), rng.normal(size=(300, 4)).astype(np.float32)
    codes[:, 3] = 0  # a concept that no document has
    similarity = rng.normal(size=(4, 4)).astype(np.float32)
    found = moments_of(sparse.csr_matrix(codes.astype(np.float32)), documents, similarity)
    some = [n for n in range(7) if n != 3]
    assert found.correlations[np.ix_(some, some)] == pytest.approx(np.corrcoef(codes[:, some].T), abs=1e-4)
    assert found.deviations[some] == pytest.approx(codes[:, some].std(axis=0), rel=1e-4)
    query = rng.normal(size=4)
    scores = documents @ similarity.T @ query
    wanted = [np.cov(codes[:, n], scores, bias=True)[0, 1] / codes[:, n].std() for n in some]
    assert found.with_similarity[some] @ query == pytest.approx(np.array(wanted), abs=1e-4)
    assert found.deviations[3] == np.float32(SMALLEST_DEVIATION) and not found.with_similarity[3].any()
