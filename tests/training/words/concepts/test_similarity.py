"""A matrix learns from judgments what the encoder's own similarity and words miss; nothing is learned where words decide."""

from __future__ import annotations

import numpy as np

from training.recipe.concepts import Concepts
from training.words.concepts.similarity import Judged, fit_similarity

WIDTH, DOCUMENTS = 8, 200


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def collection(name: str, seed: int, *, told_by_words: bool) -> Judged:
    """Queries lie where their document lies after a swap of halves, which the cosine cannot know."""
    rng = np.random.default_rng(seed)
    documents = unit(rng.normal(size=(DOCUMENTS, WIDTH)))
    queries = unit(np.roll(documents, WIDTH // 2, axis=1) + 0.1 * rng.normal(size=documents.shape))
    words = 40 * np.eye(DOCUMENTS, dtype=np.float32) if told_by_words else np.zeros((DOCUMENTS, DOCUMENTS), np.float32)
    return Judged(name, queries, documents, words, [np.array([n]) for n in range(DOCUMENTS)])


def first(judged: Judged, similarity: np.ndarray) -> float:
    """Share of queries whose document is the nearest."""
    return float((np.argmax(judged.queries @ similarity @ judged.documents.T, axis=1) == np.arange(DOCUMENTS)).mean())


def section(**settings: float) -> Concepts:
    return Concepts(teacher="-", similarity_epochs=60, similarity_lr=1e-2, **settings)  # type: ignore[arg-type]


def test_what_judgments_tell_holds_for_other_documents() -> None:
    found = fit_similarity([collection("a", 1, told_by_words=False), collection("b", 2, told_by_words=False)], {"b": 0.5}, section())
    unseen = collection("c", 3, told_by_words=False)
    assert first(unseen, np.eye(WIDTH)) < 0.1 and first(unseen, found) > 0.6


def test_a_large_decay_keeps_the_encoders_own_similarity() -> None:
    found = fit_similarity([collection("a", 1, told_by_words=False)], {}, section(similarity_decay=1e3))
    assert np.abs(found - np.eye(WIDTH)).max() < 0.1


def test_where_words_decide_there_is_nothing_to_learn() -> None:
    found = fit_similarity([collection("a", 1, told_by_words=True)], {}, section())
    assert np.linalg.norm(found - np.eye(WIDTH)) < 0.5


def test_without_batches_it_is_the_encoders_own_similarity() -> None:
    found = fit_similarity([collection("a", 1, told_by_words=False)], {"a": 0}, section())
    assert np.array_equal(found, np.eye(WIDTH))
