"""The order of an epoch: a bijection, computed; the step is the whole state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError
from training.data.permutation import EpochOrder, Permutation

SIZES = st.one_of(st.integers(1, 70), st.sampled_from([2**k + d for k in range(3, 15) for d in (-1, 0, 1)]), st.integers(1, 30_000))
KEYS = st.lists(st.integers(0, 2**40), min_size=1, max_size=3)


def everything(size: int, *key: int) -> np.ndarray:
    return Permutation(size, key=key)(np.arange(size, dtype=np.int64))


@given(size=SIZES, key=KEYS)
def test_every_place_comes_exactly_once(size: int, key: list[int]) -> None:
    assert np.array_equal(np.sort(everything(size, *key)), np.arange(size))


@given(size=SIZES, key=KEYS, data=st.data())
def test_any_places_in_any_order_give_what_all_places_at_once_give(size: int, key: list[int], data: st.DataObject) -> None:
    asked = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=20)), dtype=np.int64)
    assert np.array_equal(Permutation(size, key=key)(asked), everything(size, *key)[asked])


def test_large_sizes_need_no_memory_and_stay_inside() -> None:
    size = 2**61 + 12_345
    places = np.random.default_rng(0).integers(size, size=5_000)
    found = Permutation(size, key=(3, 1))(places)
    assert found.min() >= 0 and found.max() < size
    assert len(np.unique(found)) == len(np.unique(places))


@pytest.mark.parametrize("size", [1_000, 39_781])
def test_no_order_is_left(size: int) -> None:
    order = everything(size, 7, 0)
    places = np.arange(size)
    fixed = int((order == places).sum())
    steps = np.diff(order)
    bound = 4 / np.sqrt(size)  # four standard deviations of a correlation of independent orders
    assert fixed <= 8  # one is expected
    assert abs(np.corrcoef(order, places)[0, 1]) < bound
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < bound
    assert int((np.abs(steps) == 1).sum()) <= 12  # two are expected
    assert abs(np.corrcoef(order, everything(size, 7, 1))[0, 1]) < bound


@pytest.mark.parametrize("size", [2, 3, 5, 8, 13, 100])
def test_every_item_is_as_likely_at_every_place(size: int) -> None:
    seeds, places = 4_000, np.array([0, size // 2, size - 1], dtype=np.int64)
    found = np.stack([Permutation(size, key=(seed,))(places) for seed in range(seeds)])
    for column in found.T:
        expected = seeds / size
        chi_square = float(((np.bincount(column, minlength=size) - expected) ** 2 / expected).sum())
        assert chi_square < (size - 1) + 5 * np.sqrt(2 * (size - 1)) + 5


def test_seed_and_epoch_are_not_interchangeable() -> None:
    orders = [tuple(everything(50, seed, epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == len(orders)


@given(size=st.integers(1, 300), epochs=st.integers(1, 3), seed=st.integers(0, 2**32), data=st.data())
def test_the_steps_of_all_workers_are_disjoint_and_complete_for_each_epoch(size: int, epochs: int, seed: int, data: st.DataObject) -> None:
    batch, workers = data.draw(st.integers(1, size)), data.draw(st.integers(1, 4))
    order = EpochOrder(size, seed=seed, batch=batch)
    steps = -(-epochs * size // batch)
    seen = [pair for worker in range(workers) for step in range(worker, steps, workers) for pair in zip(*order.step(step), strict=True)]
    whole = sorted((int(epoch), int(row)) for row, epoch in seen if epoch < epochs)
    assert whole == [(epoch, row) for epoch in range(epochs) for row in range(size)]


@given(size=st.integers(2, 200), seed=st.integers(0, 1000), step=st.integers(0, 10_000), data=st.data())
def test_a_step_depends_on_nothing_before_it(size: int, seed: int, step: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, size))
    used = EpochOrder(size, seed=seed, batch=batch)
    for before in range(3):
        used.step(before)
    fresh = EpochOrder(size, seed=seed, batch=batch)
    assert all(np.array_equal(one, other) for one, other in zip(used.step(step), fresh.step(step), strict=True))


def test_a_row_is_at_most_twice_in_a_batch_and_only_over_the_end_of_an_epoch() -> None:
    order = EpochOrder(10, seed=0, batch=7)
    for step in range(100):
        rows, epochs = order.step(step)
        for epoch in set(epochs.tolist()):
            assert len(set(rows[epochs == epoch].tolist())) == int((epochs == epoch).sum())


@pytest.mark.parametrize(("size", "batch", "seed"), [(0, 1, 0), (5, 0, 0), (5, 6, 0), (5, 2, -1)])
def test_what_cannot_be_ordered_is_an_error_at_once(size: int, batch: int, seed: int) -> None:
    with pytest.raises(ConfigError):
        EpochOrder(size, seed=seed, batch=batch)


def test_places_outside_and_negative_steps_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"outside 0\.\.4"):
        Permutation(5, key=(0,))(np.array([5]))
    with pytest.raises(ConfigError, match="counted from 0"):
        EpochOrder(5, seed=0, batch=2).step(-1)
