"""Batches of the student: of both sides, or what is missing is told."""

from __future__ import annotations

import numpy as np
import pytest

from splade_ptbr_connectors.errors import TrainingError
from training.recipe.concepts import Concepts
from training.words.concepts.student import SMALLEST_BATCH, Side, _batches


def side(texts: int, length: int = 3) -> Side:
    return Side([[1] * length] * texts, np.zeros((texts, 4), np.float16))


def test_both_sides_have_batches() -> None:
    batches = _batches((side(SMALLEST_BATCH), side(3 * SMALLEST_BATCH)), Concepts(teacher="-"), 0)
    assert {next(batches)[0] for _ in range(8)} == {0, 1}


@pytest.mark.parametrize("sides", [(side(SMALLEST_BATCH - 1), side(SMALLEST_BATCH - 1)), (side(99, length=65), side(99, length=65))])
def test_no_batch_at_all_ends_the_run(sides: tuple[Side, Side]) -> None:
    with pytest.raises(TrainingError, match="batch_tokens"):
        next(_batches(sides, Concepts(teacher="-", batch_tokens=64 * SMALLEST_BATCH), 0))


@pytest.mark.parametrize(
    ("sides", "missing"),
    [
        ((side(SMALLEST_BATCH - 1), side(SMALLEST_BATCH)), "queries"),
        ((side(SMALLEST_BATCH), side(SMALLEST_BATCH - 1)), "documents"),
        ((side(99), side(99, length=65)), "documents"),
    ],
)
def test_a_side_without_a_batch_is_told_once(sides: tuple[Side, Side], missing: str, caplog: pytest.LogCaptureFixture) -> None:
    batches = _batches(sides, Concepts(teacher="-", batch_tokens=64 * SMALLEST_BATCH), 0)
    assert {next(batches)[0] for _ in range(40)} == {0 if missing == "documents" else 1}
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"nothing is learned from {missing}"]
