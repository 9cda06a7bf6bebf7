"""Names of concepts, for people who look at vectors: the words that come up with them most beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

MARK, BETWEEN = "≈", "·"
FEWEST_TEXTS = 5
WORDS_EACH = 2
_AT_ONCE = 256


def names_of(codes: sparse.csr_matrix, terms: sparse.csr_matrix, tokens: Sequence[str]) -> list[str]:
    """A name for each concept, no two the same, such as "≈insonia·dormir": what texts are split at is in it, so that no word is one.

    Args:
        codes: [N, C] concepts of texts.
        terms: [N, V] weights of their terms.
        tokens: [V] how terms read.
    """
    common = np.flatnonzero(np.bincount(terms.indices, minlength=terms.shape[1]) >= FEWEST_TEXTS)
    of_texts = terms[:, common].tocsr()
    share = np.asarray(of_texts.sum(axis=0)).ravel() / codes.shape[0]
    names: dict[str, None] = {}
    for start in range(0, codes.shape[1], _AT_ONCE):
        some = codes[:, start : start + _AT_ONCE]
        together = np.asarray((some.T @ of_texts).todense())
        expected = np.asarray(some.sum(axis=0)).reshape(-1, 1) * share  # if the two had nothing to do with each other
        for row in (together - expected) / np.sqrt(expected + 1e-9):
            words = [tokens[common[n]] for n in np.argsort(-row, kind="stable")[:WORDS_EACH]]
            name = MARK + BETWEEN.join(words)
            while name in names:
                name += "'"
            names[name] = None
    return list(names)
