"""Rounds of tuning: what each is held to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from splade_ptbr_connectors.encoding.tensors import unit_vectors
from tests.training.words.concepts.teacher import make_teacher
from training.recipe.concepts import Concepts
from training.words.concepts import learn
from training.words.concepts.student import Side
from training.words.concepts.teacher import SentenceEncoder
from training.words.concepts.texts import Texts
from training.words.concepts.tune import Tuned

QUERIES, DOCUMENTS, WIDTH = 7, 9, 16
QUERIES_ELSEWHERE, DOCUMENTS_ELSEWHERE = 3, 4


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_a_round_is_held_to_the_student_before_it_and_the_first_to_the_teacher(
    rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = SentenceEncoder.read(make_teacher(tmp_path / "teacher"))
    counts = QUERIES + QUERIES_ELSEWHERE, DOCUMENTS + DOCUMENTS_ELSEWHERE
    names = [[f"{side}{n}" for n in range(count)] for side, count in zip("qd", counts, strict=True)]
    texts = Texts(*names, [(names[0][-1], names[1][-1])], QUERIES, QUERIES, DOCUMENTS)
    rng = np.random.default_rng(1)
    rows = [[[0, 4 + n, place, 2] for n in range(count)] for place, count in zip((10, 20), counts, strict=True)]
    sides = tuple(Side(tokens, rng.normal(size=(len(tokens), WIDTH)).astype(np.float16)) for tokens in rows)
    documents = {name: name for name in names[1][:DOCUMENTS]}
    queries = [(name, (names[1][n],)) for n, name in enumerate(names[0][:QUERIES])]
    one = SimpleNamespace(folder=SimpleNamespace(name="toy"), documents=documents, queries=queries)
    held_to = []

    def tuned(given: SentenceEncoder, collections: list[Tuned], pairs: Any, *others: Any) -> None:
        assert given is student and collections[0].documents == rows[1][:DOCUMENTS] and pairs == ([rows[0][-1]], [rows[1][-1]])
        held_to.append((collections[0].judged, others[-1]))
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(held_to))) * 0.05)
        states.append([unit(rows[0][:QUERIES], 0), unit(rows[1][:DOCUMENTS], 1)])

    def unit(tokens: list[list[int]], side: int) -> np.ndarray:
        with torch.inference_mode():
            return unit_vectors(student.embed(tokens).numpy() - sides[side].centre)

    taught = [unit_vectors(side.taught.astype(np.float32) - side.centre) for side in sides]
    states = [[taught[0][:QUERIES], taught[1][:DOCUMENTS]]]
    monkeypatch.setattr(learn, "tune", tuned)
    section, recipe = Concepts(teacher="-", tuning_rounds=rounds), SimpleNamespace(data=SimpleNamespace(share={}))
    scores = np.zeros((QUERIES, DOCUMENTS), np.float32)
    learn._tune(student, [one], texts, sides, [scores], recipe, section, tmp_path)  # type: ignore[arg-type, list-item]
    assert [path.name for _, path in held_to] == [f"tuned-{n}.pt" for n in range(1, rounds + 1)]
    for (judged, _), expected in zip(held_to, states, strict=False):
        np.testing.assert_allclose(judged.queries, expected[0], atol=0.02)
        np.testing.assert_allclose(judged.documents, expected[1], atol=0.02)
    assert all(np.abs(state[1] - states[n][1]).max() > 0.1 for n, state in enumerate(states[1:]))  # each round moved it
