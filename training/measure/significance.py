"""Is one model better than another? Paired tests over the same queries: Fisher's randomisation, Student's t, a bootstrap interval.

Smucker, Allan and Carterette (CIKM 2007) compare these tests for information retrieval; all work on the differences of a
measure, query by query. A difference is always B minus A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from splade_ptbr_connectors.errors import ConfigError, InputError

PERMUTATIONS = 100_000
"""Random sign changes of the randomisation test; fewer different ones than this are enumerated instead."""
LEAST_PERMUTATIONS = 10_000
RESAMPLES = 10_000
"""Of the bootstrap."""
BLOCK_CELLS = 2**22
"""Numbers held at a time by the tests that draw."""
CHANGED_QUERIES = 10
"""Queries named as those that changed most."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """A query's value under both models."""

    query_id: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on one collection.

    Attributes:
        queries: number of queries that both have a value for: the denominator of both means.
        left_out: queries that only one of them has a value for.
        difference: mean of B - mean of A.
        interval: 95% bootstrap confidence interval of the difference (percentiles).
        p_randomisation: two-sided, of Fisher's paired randomisation test.
        p_holm: the same after Holm's correction over all collections of the comparison.
        exact: all sign changes were enumerated, none drawn.
        p_t_test: two-sided paired t-test; None where it is not defined (one query, or the same difference for each).
        wins, ties, losses: queries for which B is better, equal, worse.
        changed: the queries with the largest difference, largest first.
    """

    name: str
    metric: str
    queries: int
    left_out: int
    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float]
    p_randomisation: float
    p_holm: float
    exact: bool
    p_t_test: float | None
    wins: int
    ties: int
    losses: int
    changed: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def compare_values(
    name: str,
    metric: str,
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
) -> PairedComparison:
    """Compare two models by their values per query (query id -> value). `p_holm` is that of this collection alone.

    Raises:
        InputError: no query that both have, or a value that is not a finite number.
        ConfigError: fewer than 10,000 permutations, fewer than 1 resample.
    """
    common = [query_id for query_id in a if query_id in b]
    if not common:
        raise InputError(
            f"{name}: the two models have no query in common ({len(a)} and {len(b)} queries): measure both on the same collection."
        )
    first, second = _values(name, a, common), _values(name, b, common)
    differences = second - first
    p_value = randomisation_test(differences, permutations=permutations, seed=seed)
    return PairedComparison(
        name=name,
        metric=metric,
        queries=len(common),
        left_out=len(a.keys() ^ b.keys()),
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, resamples=resamples, seed=seed),
        p_randomisation=p_value,
        p_holm=p_value,
        exact=is_exact(differences, permutations),
        p_t_test=t_test(differences),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
        changed=_most_changed(common, first, second),
    )


def corrected(comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    """The same comparisons with `p_holm` corrected over all of them."""
    adjusted = holm([comparison.p_randomisation for comparison in comparisons])
    return [replace(comparison, p_holm=p_value) for comparison, p_value in zip(comparisons, adjusted, strict=True)]


def randomisation_test(differences: Values, *, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Two-sided p-value of Fisher's paired randomisation test: how often random signs give a sum at least as far from 0.

    Under the null hypothesis the two models are exchangeable for each query, so each sign is as likely as the other. With few
    queries all signs are enumerated and p is exact; otherwise p = (1 + hits) / (1 + permutations), never 0.

    Args:
        differences: [Q]; zeros do not matter and are left out.
        permutations: sign vectors that are drawn, at least 10,000.
        seed: of the drawing.
    """
    if permutations < LEAST_PERMUTATIONS:
        raise ConfigError(f"permutations is {permutations}: at least {LEAST_PERMUTATIONS:,} are needed for a p-value that can be trusted.")
    changed = _checked(differences)
    changed = changed[changed != 0]
    if not len(changed):
        return 1.0
    # sums that are equal on paper differ in the last bits: they count as equal, on the safe side
    bound = abs(float(changed.sum())) - 1e-9 * float(np.abs(changed).sum())
    if is_exact(changed, permutations):
        return float((np.abs(_all_sums(changed)) >= bound).mean())
    hits = sum(int((np.abs(sums) >= bound).sum()) for sums in _random_sums(changed, permutations, seed))
    return (1 + hits) / (1 + permutations)


def is_exact(differences: Values, permutations: int = PERMUTATIONS) -> bool:
    """Whether there are so few differences that all signs are enumerated."""
    return int((differences != 0).sum()) <= int(permutations).bit_length() - 1


def _all_sums(differences: Values) -> Values:
    """[2**Q] sums under every choice of signs."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _random_sums(differences: Values, count: int, seed: int) -> Iterator[Values]:
    """`count` sums under random signs, in blocks. Turning every sign of the differences turns every sum, nothing else."""
    rng = np.random.default_rng(seed)
    total = differences.sum()
    for size in _blocks(count, len(differences)):
        width = -(-len(differences) // 8)
        bits = np.frombuffer(rng.bytes(size * width), dtype=np.uint8).reshape(size, width)
        kept = np.unpackbits(bits, axis=1, count=len(differences)).astype(np.float64)
        yield 2 * (kept @ differences) - total


def t_test(differences: Values) -> float | None:
    """Two-sided p-value of the paired t-test; 1 when nothing differs, None where it is not defined."""
    values = _checked(differences)
    if not values.any():
        return 1.0
    if len(values) < 2 or float(np.ptp(values)) <= 1e-12 * float(np.abs(values).max()):
        return None
    return max(float(stats.ttest_1samp(values, 0.0).pvalue), float(np.finfo(np.float64).tiny))


def bootstrap_interval(differences: Values, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap confidence interval of the mean difference: queries are drawn again, with replacement."""
    values = _checked(differences)
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"resamples is {resamples} and level {level}: at least 1, and between 0 and 1, are accepted.")
    rng = np.random.default_rng(seed)
    blocks = _blocks(resamples, len(values))
    means = np.concatenate([values[rng.integers(len(values), size=(size, len(values)))].mean(axis=1) for size in blocks])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _blocks(count: int, width: int) -> list[int]:
    """Sizes of blocks of rows that stay within BLOCK_CELLS and add up to `count`."""
    size = max(1, BLOCK_CELLS // max(1, width))
    return [min(size, count - start) for start in range(0, count, size)]


def _checked(differences: Values) -> Values:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"expected the differences of at least one query, got an array of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise InputError("a difference is not a finite number: check the measured values.")
    return values


def _values(name: str, values: Mapping[str, float], query_ids: Sequence[str]) -> Values:
    array = np.array([values[query_id] for query_id in query_ids], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise InputError(f"{name}: the value of query {query_ids[int(bad[0])]!r} is {array[bad[0]]}, not a finite number.")
    return array


def _most_changed(query_ids: Sequence[str], a: Values, b: Values) -> tuple[Change, ...]:
    order = np.argsort(-np.abs(b - a), kind="stable")[:CHANGED_QUERIES]
    return tuple(Change(query_ids[i], float(a[i]), float(b[i])) for i in order if a[i] != b[i])
