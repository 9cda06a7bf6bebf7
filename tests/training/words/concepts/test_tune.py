"""A student learns from judgments what its teacher does not know, and goes on where it was cut off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from splade_ptbr_connectors.errors import TrainingError
from tests.training.words.concepts.teacher import make_teacher
from training.recipe.concepts import Concepts
from training.words.concepts import stage
from training.words.concepts import tune as module
from training.words.concepts.similarity import Judged
from training.words.concepts.teacher import SentenceEncoder
from training.words.concepts.tune import BATCH_PAIRS, BATCH_QUERIES, FAR, NEAR, Tuned, _steps, tune

DOCUMENTS, WIDTH = 60, 16
FILE = "tuned.pt"


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture
def student(tmp_path: Path) -> SentenceEncoder:
    return SentenceEncoder.read(make_teacher(tmp_path / "teacher"))


def collection(student: SentenceEncoder, documents: int = DOCUMENTS) -> Tuned:
    """A document is a piece and its neighbour, its query the piece and another one; words know nothing."""
    queries, passages = [[0, 4 + n % 60, 10, 2] for n in range(documents)], [[0, 4 + n % 60, 5 + n % 60, 2] for n in range(documents)]
    with torch.no_grad():
        embedded = [unit(student.embed(rows).numpy()) for rows in (queries, passages)]
    relevant = [np.array([n]) for n in range(documents)]
    return Tuned(Judged("toy", *embedded, np.zeros((documents, documents), np.float32), relevant), queries, passages)


def section(**settings: float) -> Concepts:
    return Concepts(teacher="-", **{"tuning_epochs": 12, "tuning_lr": 2e-3, "tuning_distance": 0.0, "checkpoint_every": 5} | settings)  # type: ignore[arg-type]


CENTRES = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def first(student: SentenceEncoder, one: Tuned) -> float:
    """Share of queries whose document is the nearest."""
    with torch.no_grad():
        scores = student.embed(one.queries) @ student.embed(one.documents).T
    return float((scores.argmax(dim=1) == torch.arange(len(scores))).float().mean())


def state(student: SentenceEncoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in student.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_is_judged_is_found(student: SentenceEncoder, tmp_path: Path) -> None:
    one = collection(student)
    before = first(student, one)
    tune(student, [one], ([], []), CENTRES, {}, section(), tmp_path / FILE)
    assert first(student, one) > before + 0.2


def test_pairs_teach_as_well(student: SentenceEncoder, tmp_path: Path) -> None:
    one = collection(student)
    before = first(student, one)
    tune(student, [one], (one.queries * 2, one.documents * 2), CENTRES, {}, section(tuning_pairs=0.8, tuning_epochs=8), tmp_path / FILE)
    assert first(student, one) > before + 0.2


def test_a_large_weight_of_the_distance_keeps_the_embeddings(student: SentenceEncoder, tmp_path: Path) -> None:
    one = collection(student)
    tune(student, [one], ([], []), CENTRES, {}, section(tuning_distance=1e3, tuning_lr=1e-4), tmp_path / FILE)
    with torch.no_grad():
        found = student.embed(one.queries).numpy()
    assert (found * one.judged.queries).sum(axis=1).min() > 0.98


def test_cut_off_and_gone_on_with_is_the_same(student: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, one = state(student), collection(student)
    arguments = ([one], (one.queries * 2, one.documents * 2), CENTRES, {}, section())
    tune(student, *arguments, tmp_path / "whole.pt")
    whole = state(student)
    assert not equal(start, whole)

    save = stage.save

    def cut(*given: object) -> None:
        save(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    student.load_state_dict(start)
    monkeypatch.setattr(stage, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        tune(student, *arguments, tmp_path / "cut.pt")
    monkeypatch.undo()
    student.load_state_dict(start)
    tune(student, *arguments, tmp_path / "cut.pt")
    assert equal(whole, state(student))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b"no checkpoint at all"),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"model": {"a": torch.zeros(2)}, "optimizer": {}, "step": 2}, path),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named(damage: Callable[[Path], object], student: SentenceEncoder, tmp_path: Path) -> None:
    arguments = ([collection(student, 3)], ([], []), CENTRES, {}, section(tuning_epochs=1), tmp_path / FILE)
    tune(student, *arguments)
    damage(tmp_path / FILE)
    with pytest.raises(TrainingError, match=r"checkpoint .*tuned\.pt is damaged or of another model .*: delete it"):
        tune(student, *arguments)


def test_a_loss_that_is_not_a_number_ends_the_run(student: SentenceEncoder, tmp_path: Path) -> None:
    one = collection(student)
    one.judged.words[:] = math.nan
    with pytest.raises(TrainingError, match="tuning_lr"):
        tune(student, [one], ([], []), CENTRES, {}, section(), tmp_path / FILE)


@pytest.mark.parametrize("documents", [2, NEAR, NEAR + 2, BATCH_QUERIES + 1])
def test_collections_of_any_size(documents: int, student: SentenceEncoder, tmp_path: Path) -> None:
    before = state(student)
    tune(student, [collection(student, documents)], ([], []), CENTRES, {}, section(tuning_epochs=1), tmp_path / FILE)
    assert not equal(before, state(student))


def test_of_a_long_passage_the_beginning_is_read(student: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 40)  # the tiny teacher has 64 places
    one, start = collection(student), state(student)
    found = []
    for longer in (10, 30):
        student.load_state_dict(start)
        tuned = Tuned(one.judged, one.queries, [row * longer for row in one.documents])
        tune(student, [tuned], ([], []), CENTRES, {}, section(tuning_epochs=1), tmp_path / f"{longer}.pt")
        found.append(state(student))
    assert equal(*found)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6])
def test_every_query_comes_once_an_epoch_and_pairs_as_often_as_the_recipe_says(share: float, student: SentenceEncoder) -> None:
    judged = [collection(student, 3 * BATCH_QUERIES + 7).judged]
    steps = _steps(judged, 5 * BATCH_PAIRS, {}, section(tuning_epochs=100, tuning_pairs=share))
    counted = Counter(query for number, chosen in steps if number is not None for query in chosen)
    assert set(counted.values()) == {100} and len(counted) == 3 * BATCH_QUERIES + 7
    assert np.mean([number is None for number, _ in steps]) == pytest.approx(share, abs=0.05)
    of_pairs = Counter(pair for number, chosen in steps if number is None for pair in chosen)
    assert max(of_pairs.values(), default=0) - min(of_pairs.values(), default=0) <= 1


def test_fewer_pairs_than_a_batch_make_small_ones(student: SentenceEncoder) -> None:
    steps = _steps([collection(student, FAR).judged], 3, {}, section(tuning_epochs=50, tuning_pairs=0.5))
    assert {len(chosen) for number, chosen in steps if number is None} == {3}
