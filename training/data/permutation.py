"""The order of an epoch: a seeded permutation that is computed, not stored, so that a step number is the whole state of a sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import ConfigError

ROUNDS = 8
Indices = NDArray[np.int64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Permutation:
    """A bijection of range(size), chosen by `key`, in O(1) memory and with random access.

    A Feistel network over the smallest power of two that holds `size`, its two parts alternating; a value outside the range
    is walked on along its cycle until it is inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
    Not for secrets.

    Args:
        size: 1 to 2^62.
        key: whole numbers >= 0, such as (seed, epoch).
    """

    def __init__(self, size: int, *, key: Sequence[int]) -> None:
        if not 1 <= size <= 2**62:
            raise ConfigError(f"an order of {size} items cannot be made: between 1 and 2^62 are accepted; is the data empty?")
        if any(part < 0 for part in key):
            raise ConfigError(f"seed {tuple(key)} has a negative number: seeds are whole numbers from 0.")
        self.size = size
        bits = (size - 1).bit_length()
        self._low_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << bits // 2) - 1)
        self._high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        self._keys = np.random.SeedSequence(tuple(key)).generate_state(ROUNDS, np.uint64)

    def __call__(self, positions: Indices) -> Indices:
        """What stands at each of the positions, which must lie in range(size)."""
        if positions.size and not 0 <= positions.min() <= positions.max() < self.size:
            raise ConfigError(f"a position lies outside 0..{self.size - 1}")
        values = self._step(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= self.size)
        while outside.size:
            values[outside] = self._step(values[outside])
            outside = outside[values[outside] >= self.size]
        return values.astype(np.int64)

    def _step(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The network once: a bijection of the power of two."""
        high, low = values >> self._low_bits, values & self._low_mask
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                high = high ^ (_mixed(low ^ key) & self._high_mask)
            else:
                low = low ^ (_mixed(high ^ key) & self._low_mask)
        return (high << self._low_bits) | low


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every input bit reaches every output bit."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class EpochOrder:
    """Rows in the order of training: epoch after epoch, each with a permutation of its own.

    Position p of the endless sequence is place p % size of epoch p // size. The batch of step s takes positions
    s * batch to (s + 1) * batch - 1, so the step is all that a resumed run has to know; a batch may end one epoch and begin
    the next.
    """

    def __init__(self, size: int, *, seed: int, batch: int) -> None:
        if batch < 1:
            raise ConfigError(f"batch_queries is {batch}: it must be at least 1.")
        if batch > size:
            raise ConfigError(f"batch_queries is {batch}, but the data has {size} rows to train on: a batch cannot have more.")
        self.size, self.batch, self._seed = size, batch, seed
        Permutation(size, key=(seed, 0))  # a seed or size that cannot be used is an error now

    def step(self, step: int) -> tuple[Indices, Indices]:
        """([batch] rows, [batch] epochs) of a step, counted from 0."""
        if step < 0:
            raise ConfigError(f"step {step}: steps are counted from 0.")
        return self.rows(np.arange(step * self.batch, (step + 1) * self.batch, dtype=np.int64))

    def rows(self, positions: Indices) -> tuple[Indices, Indices]:
        """(rows, epochs) of positions of the endless sequence."""
        epochs, places = np.divmod(positions, self.size)
        rows = np.empty_like(places)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            rows[inside] = Permutation(self.size, key=(self._seed, int(epoch)))(places[inside])
        return rows, epochs

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every row has been used at least once."""
        return -(-self.size // self.batch)
