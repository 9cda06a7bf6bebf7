"""Which checkpoint is kept, when a run ends early, and when it is stopped: small state machines whose state is JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from splade_ptbr_connectors.errors import TrainingError
from training.validation import Measured


@dataclass(frozen=True)
class Decision:
    """What one measurement means: a new best; or why it could not be chosen."""

    best: bool
    eligible: bool
    reason: str | None = None


@dataclass
class Choice:
    """The best mean quality among the checkpoints under the ceilings; a tie keeps the earlier one.

    An unregularised model wins on quality alone, so quality is compared only among vectors that are short enough.
    """

    max_terms_document: float | None = None
    max_terms_query: float | None = None
    max_split_loss: float | None = None
    best_step: int | None = None
    best_quality: float = -math.inf
    start: dict[str, float] = field(default_factory=dict)
    """Quality of each split at the first measurement."""
    refused: tuple[int, float, str] | None = None
    """(step, quality, reason) of the best one that could not be chosen."""

    def consider(self, step: int, measured: Sequence[Measured]) -> Decision:
        """Takes one measurement of every split into account."""
        self.start = self.start or {m.name: m.quality for m in measured}
        quality = sum(m.quality for m in measured) / len(measured)
        reason = self._why_not(measured)
        if reason is not None:
            if self.refused is None or quality > self.refused[1]:
                self.refused = (step, quality, reason)
            return Decision(best=False, eligible=False, reason=reason)
        best = quality > self.best_quality
        if best:
            self.best_step, self.best_quality = step, quality
        return Decision(best=best, eligible=True)

    def _why_not(self, measured: Sequence[Measured]) -> str | None:
        for side, ceiling in (("document", self.max_terms_document), ("query", self.max_terms_query)):
            worst = max(measured, key=lambda m: float(getattr(m, f"terms_{side}")))
            terms = float(getattr(worst, f"terms_{side}"))
            if ceiling is not None and terms > ceiling:
                return f"{terms:.1f} terms a {side} on {worst.name}, the ceiling is {ceiling:g}"
        for m in measured:
            if self.max_split_loss is not None and m.quality < self.start[m.name] - self.max_split_loss:
                return f"{m.name} fell from {self.start[m.name]:.4f} to {m.quality:.4f}, at most {self.max_split_loss:g} is allowed"
        return None

    def why_none(self) -> str:
        """What to say when the run ends without a choice."""
        if self.refused is None:
            return "nothing was measured"
        step, quality, reason = self.refused
        return f"none was under the ceilings; the best of the others is step {step} with {quality:.4f}: {reason}"

    def state(self) -> dict[str, Any]:
        """JSON values."""
        quality = None if self.best_step is None else self.best_quality
        refused = None if self.refused is None else list(self.refused)
        return {"best_step": self.best_step, "best_quality": quality, "start": self.start, "refused": refused}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state that `state` gave."""
        self.best_step, self.start = state["best_step"], dict(state["start"])
        self.best_quality = -math.inf if state["best_quality"] is None else state["best_quality"]
        self.refused = None if state["refused"] is None else tuple(state["refused"])


@dataclass
class EarlyStop:
    """Ends a run after `patience` measurements in a row without a new best."""

    patience: int
    waited: int = 0

    def stop_after(self, best: bool) -> bool:
        """Whether the measurement that was just made is the last one."""
        self.waited = 0 if best else self.waited + 1
        return self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """JSON values."""
        return {"waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state that `state` gave."""
        self.waited = state["waited"]


ADVICE = "try a smaller lambda, a longer ramp or a lower learning rate, or a more precise number format"
LARGEST_ACTIVATION = 50.0
"""log1p of a logit that no number format holds: activations beyond it come from a network that has exploded."""


@dataclass
class CollapseGuard:
    """Stops a run that can only waste time: a loss that is not a number, activations that explode, vectors without terms."""

    max_empty_share: float = 0.5
    empty_in_a_row: int = 0

    def check_step(self, row: Mapping[str, Any]) -> None:
        """Raises TrainingError for a step after which nothing can be learned."""
        loss, largest = row["loss"], row.get("max_activation", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(f"step {row['step']}: the loss is {loss}: the run has diverged; {ADVICE}")
        if not largest <= LARGEST_ACTIVATION:
            raise TrainingError(f"step {row['step']}: the largest activation is {largest:.3g}: the network has exploded; {ADVICE}")

    def check_validation(self, step: int, measured: Sequence[Measured]) -> None:
        """Raises TrainingError when two measurements in a row found more than the allowed share of vectors without a term."""
        shares = {
            f"{side} of {m.name}": empty / max(1, count)
            for m in measured
            for side, empty, count in (("documents", m.empty_documents, m.documents), ("queries", m.empty_queries, m.queries))
        }
        worst = max(shares, key=lambda name: shares[name])
        self.empty_in_a_row = self.empty_in_a_row + 1 if shares[worst] > self.max_empty_share else 0
        if self.empty_in_a_row >= 2:
            raise TrainingError(
                f"step {step}: {shares[worst]:.0%} of the {worst} have no term, for the second measurement in a row "
                f"(accepted: {self.max_empty_share:.0%}): the regulariser has won; {ADVICE}"
            )

    def state(self) -> dict[str, Any]:
        """JSON values."""
        return {"empty_in_a_row": self.empty_in_a_row}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state that `state` gave."""
        self.empty_in_a_row = state["empty_in_a_row"]
