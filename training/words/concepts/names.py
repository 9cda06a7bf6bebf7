"""Names of concepts, for people who look at vectors: the words whose texts have them most."""

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
    of_texts = terms[:, common].tocsc()
    lengths = np.sqrt(np.asarray(of_texts.multiply(of_texts).sum(axis=0)).ravel())
    of_texts = (of_texts @ sparse.diags(1 / np.maximum(lengths, 1e-9))).tocsr()
    names: dict[str, None] = {}
    for start in range(0, codes.shape[1], _AT_ONCE):
        for row in np.asarray((codes[:, start : start + _AT_ONCE].T @ of_texts).todense()):
            words = [tokens[common[n]] for n in np.argsort(-row, kind="stable")[:WORDS_EACH]]
            name = MARK + BETWEEN.join(words)
            while name in names:
                name += "'"
            names[name] = None
    return list(names)
