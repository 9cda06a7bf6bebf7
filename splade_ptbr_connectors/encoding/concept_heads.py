"""From an embedding to a few concepts: of documents the nearest directions, of queries what spells their similarity to documents best.

Document: z(d) = ReLU(W d + b) [C], of which the largest are kept. W [C, H] are the directions.
Query: few a >= 0, such that a'(z(d) - mean z) is nearest to the similarity s(q, d) over all documents, by orthogonal matching pursuit
(Pati, Rezaiifar, Krishnaprasad 1993; without negative weights, as inverted indexes have none). It needs no documents, only how their
concepts come together (R, correlations) and how each goes with similarity: with deviations v of z, the weights u = v a solve
min u'R u - 2 u'(K q), K [C, H] the covariance of z / v and s.

d and q are unit vectors from the mean of their side, which sentence encoders put into different corners of their space.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .config import ConceptSettings
from .tensors import product, read_tensors, unit_vectors

Side = Literal["query", "document"]
Floats = NDArray[np.float32]
RIDGE = 0.02
"""Added to the correlations' diagonal: they are rounded to int8, which may make near twins more than alike."""
ROUNDED = 0.02  # by which rounding may move them
SMALLEST, LARGEST = 1e-6, 1e6  # beyond these, weights would leave float32


class Head(Protocol):
    """The concepts of one side's texts."""

    @property
    def top(self) -> int:
        """Concepts of a text at most."""
        ...

    def activations(self, embeddings: Floats) -> Floats:
        """[B, H] embeddings of any length to [B, C] weights, most of them 0."""
        ...


@dataclass(frozen=True)
class DocumentHead:
    """Attributes: [C, H] directions, [C] bias and the [H] mean of documents' embeddings."""

    directions: Floats
    bias: Floats
    centre: Floats
    top: int

    def activations(self, embeddings: Floats) -> Floats:
        """See Head."""
        found = np.maximum(product(unit_vectors(unit_vectors(embeddings) - self.centre), self.directions.T) + self.bias, 0)
        if self.top < found.shape[1]:
            least = np.partition(found, -self.top, axis=1)[:, -self.top, None]
            found[found < least] = 0
        return np.asarray(found, np.float32)


@dataclass(frozen=True)
class QueryHead:
    """Attributes: R [C, C] with RIDGE on its diagonal, v [C] and K [C, H] of this module, the [H] mean of queries' embeddings, a factor."""

    ridged: Floats
    deviations: Floats
    with_similarity: Floats
    centre: Floats
    scale: float
    top: int

    def activations(self, embeddings: Floats) -> Floats:
        """See Head."""
        wanted = product(unit_vectors(unit_vectors(embeddings) - self.centre), self.with_similarity.T)
        weights = np.zeros_like(wanted)
        for row, towards in zip(weights, wanted, strict=True):
            chosen, found = pursued(self.ridged, towards, self.top)
            row[chosen] = found
        return np.asarray(self.scale * weights / self.deviations, np.float32)


def pursued(ridged: Floats, towards: Floats, top: int) -> tuple[list[int], NDArray[np.float64]]:
    """At most `top` concepts, and their weights u > 0: each time the one that helps most, then all weights anew.

    Args:
        ridged: [C, C] correlations, RIDGE added to their diagonal.
        towards: [C] K q.
    """
    chosen, left = list[int](), towards
    weights: NDArray[np.float64] = np.zeros(0)
    rows = np.empty((min(top, len(towards)), len(towards)), np.float32)  # of `ridged`, those of the chosen
    for _ in range(len(rows)):
        best = int(left.argmax())
        if left[best] <= 0:
            break
        rows[len(chosen)] = ridged[best]
        chosen.append(best)
        while True:
            among = rows[: len(chosen)].take(chosen, axis=1)
            try:
                weights = np.linalg.solve(among.astype(np.float64), towards.take(chosen).astype(np.float64))
            except np.linalg.LinAlgError as error:
                raise ModelFormatError("the model's query.correlations cannot come from documents: download or make it again.") from error
            if weights.min(initial=1) > 0:
                break
            kept = np.flatnonzero(weights > 0)
            rows[: len(kept)] = rows[kept]
            chosen = [chosen[place] for place in kept.tolist()]
        left = towards - weights.astype(np.float32) @ rows[: len(chosen)]
        left[chosen] = 0
    return chosen, weights


def _are_correlations(matrix: Floats) -> bool:
    """Up to their rounding; a concept that no document has correlates with nothing, itself included."""
    return bool((np.abs(matrix) <= 1 + ROUNDED).all() and (np.abs(matrix - matrix.T) <= ROUNDED).all() and (np.diag(matrix) >= 0).all())


def read_heads(path: Path, settings: ConceptSettings) -> dict[Side, Head]:
    """Of a file of tensors; matrices are int8 with a scale for each row. Raises ModelFormatError."""
    tensors, size, width = read_tensors(path), settings.size, settings.dimensions
    matrices = {"document.directions": (size, width), "query.with_similarity": (size, width), "query.correlations": (size, size)}
    expected: dict[str, tuple[int, ...]] = {f"{side}.centre": (width,) for side in ("query", "document")}
    expected |= {"document.bias": (size,), "query.deviations": (size,)}
    expected |= matrices | {f"{name}.scale": (size,) for name in matrices}
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name].astype(np.float32)).all():
            raise ModelFormatError(f"{path} must hold a finite tensor {name!r} of shape {list(shape)}: download or make the model again.")
    found = {name: tensors[name].astype(np.float32) for name in expected}
    with np.errstate(over="ignore"):  # infinite numbers are found below
        directions, with_similarity, correlations = (found[name] * found[f"{name}.scale"][:, None] for name in matrices)
    centres = np.stack([found["query.centre"], found["document.centre"]])
    for holds, what in (
        (bool((found["query.deviations"] >= SMALLEST).all()), f"query.deviations of at least {SMALLEST:g}"),
        (max(np.abs(directions).max(), np.abs(with_similarity).max()) <= LARGEST, f"matrices of numbers up to {LARGEST:g}"),
        (np.abs(centres).max() <= 1, "centres that are means of unit vectors"),
        (_are_correlations(correlations), "query.correlations that are symmetric, from -1 to 1, and not negative on the diagonal"),
    ):
        if not holds:
            raise ModelFormatError(f"{path} must hold {what}: download or make the model again.")
    return {
        "document": DocumentHead(directions, found["document.bias"], found["document.centre"], settings.top_document),
        "query": QueryHead(
            correlations + RIDGE * np.eye(size, dtype=np.float32),
            found["query.deviations"],
            with_similarity,
            found["query.centre"],
            settings.scale_query,
            settings.top_query,
        ),
    }
