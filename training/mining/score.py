"""Teacher scores for a file of mined lines, of one teacher or of an ensemble.

A score that is missing or not a number is an error: distillation must never learn from an invented one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.errors import ConfigError, InputError
from training.measure.progress import bar
from training.mining.mined_lines import MinedLine, ResumableLines, read_mined
from training.mining.teachers import Scores, Teacher

LINES_AT_ONCE = 64
ENSEMBLES = ("mean", "min_max", "affine")


def combined(scores: Sequence[Scores], how: str) -> Scores:
    """One query's scores by an ensemble of teachers.

    `mean`: the plain mean. `min_max`: each teacher's scores stretched to 0..1 (all 0 when it scores all alike), then the mean.
    `affine`: that, moved and stretched to the mean and standard deviation of the first teacher's scores, as SPLADE-v3 does
    (arXiv 2403.06789; here query by query). One teacher alone is left as it is.
    """
    if how not in ENSEMBLES:
        raise ConfigError(f"ensemble {how!r} is not known: expected one of {', '.join(ENSEMBLES)}.")
    if len(scores) == 1:
        return scores[0]
    rows = scores if how == "mean" else [(row - row.min()) / (np.ptp(row) or 1.0) for row in scores]
    mean: Scores = np.stack(rows).mean(axis=0)
    if how != "affine":
        return mean
    first, spread = scores[0], mean.std()
    # teachers that cancel each other out leave a mean of 0..1 that is constant but for rounding: it orders nothing
    return np.asarray((mean - mean.mean()) / (spread if spread > 1e-12 else 1.0) * first.std() + first.mean())


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """Lines and pairs scored, those of them in an earlier run, and lines whose older scores were replaced."""

    lines: int
    pairs: int
    resumed: int
    replaced: int


def score(
    mined: Path, out: Path, teachers: Sequence[Teacher], *, ensemble: str = "affine", resume: bool = False, progress: bool = False
) -> ScoringReport:
    """Write every line of `mined` to `out` with "scores", one for each document.

    Raises:
        InputFileError: a broken line (found before anything is scored), or a pair that a run has no score for.
        InputError: a teacher gave a score that is not a finite number.
        ConfigError: no teacher, an unknown ensemble, an unfinished run; see ResumableLines.
    """
    if not teachers:
        raise ConfigError("no teacher is given: name at least one model or run.")
    combined([np.zeros(2)], ensemble)
    total, pairs, replaced = _counted(mined)
    with open(mined, "rb") as file:
        identity = {"mined": hashlib.file_digest(file, "sha256").hexdigest(), "teachers": [t.name for t in teachers], "ensemble": ensemble}
    with ResumableLines(out, identity, resume=resume) as lines:
        done = len(lines.journal)
        waiting = bar(islice(read_mined(mined), done, None), "score", progress, total=total - done)
        for chunk in batched(waiting, LINES_AT_ONCE):
            scores = [_checked(teacher, chunk) for teacher in teachers]
            for line, *rows in zip(chunk, *scores, strict=True):
                lines.add([{**line.raw, "scores": combined(rows, ensemble).tolist()}], {"lines": 1})
        lines.finish()
    return ScoringReport(total, pairs, done, replaced)


def _counted(mined: Path) -> tuple[int, int, int]:
    """Lines, pairs and lines with scores; reading all of it finds a broken line before hours of scoring."""
    lines = pairs = scored = 0
    for line in read_mined(mined):
        lines, pairs, scored = lines + 1, pairs + len(line.documents), scored + ("scores" in line.raw)
    return lines, pairs, scored


def _checked(teacher: Teacher, lines: Sequence[MinedLine]) -> list[Scores]:
    scores = teacher.score(lines)
    for line, row in zip(lines, scores, strict=True):
        bad = np.flatnonzero(~np.isfinite(row))
        if len(bad) or len(row) != len(line.documents):
            what = f"document {bad[0]} the score {row[bad[0]]}" if len(bad) else f"{len(line.documents)} documents {len(row)} scores"
            raise InputError(f"teacher {teacher.name} gave {what}, {line.label}: every document needs a finite score.")
    return scores
