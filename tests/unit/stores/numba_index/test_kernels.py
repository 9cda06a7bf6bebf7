"""The small parts that a search is made of, each against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from splade_ptbr_connectors.stores.numba import simd
from splade_ptbr_connectors.stores.numba.addresses import memory, to_read
from splade_ptbr_connectors.stores.numba.compiled import compiled
from splade_ptbr_connectors.stores.numba.directory import Directory, look_up
from splade_ptbr_connectors.stores.numba.layout import COUNT_BITS, ENTRY_BYTES, LARGEST, REST, ROOM, SLOT_SHIFT, SPAN, room_at
from splade_ptbr_connectors.stores.numba.sort import BINS, about_the_best, sort_hits
from splade_ptbr_connectors.stores.numba.window import Window
from splade_ptbr_connectors.vectors import SparseBatch
from tests.unit.stores.numba_index.test_search import random_batch

scores = st.lists(st.floats(0, allow_infinity=False, allow_nan=False) | st.sampled_from([0.0, 1.0, 2.5, 1e-310]), min_size=1, max_size=200)


@given(scores=scores, seed=st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_hits_are_sorted_by_score_then_row(scores: list[float], seed: int) -> None:
    values = np.array(scores)
    rows = np.random.default_rng(seed).permutation(2**33 + np.arange(len(values)) * 257)
    order = np.lexsort((rows, -values))
    expected = values[order].tolist(), rows[order].tolist()
    _sorted(values.view(np.int64), rows, np.empty_like(rows), np.empty_like(rows), np.empty(256, np.int64))
    assert (values.tolist(), rows.tolist()) == expected


@compiled
def _sorted(keys: Any, rows: Any, other_keys: Any, other_rows: Any, starts: Any) -> None:
    sort_hits(memory(keys), memory(rows), len(rows), memory(other_keys), memory(other_rows), memory(starts))


@given(scores=scores, data=st.data())
@settings(max_examples=200, deadline=None)
def test_at_least_top_k_reach_what_is_about_the_best(scores: list[float], data: Any) -> None:
    values, top_k = np.array(scores), data.draw(st.integers(1, len(scores)))
    least, exact = _about(values, top_k, np.empty(BINS, np.int64)), np.sort(values)[-top_k]
    assert least <= exact
    assert exact - least <= values.max() / 1000 or values.max() < 1e-300


@compiled
def _about(values: Any, top_k: Any, bins: Any) -> Any:
    return about_the_best(memory(values), len(values), top_k, memory(bins))


@compiled
def _counted(counts: Any, columns: Any, factors: Any, bounds: Any, cut: Any) -> Any:
    numbers, at = memory(counts), columns.ctypes.data
    for base in range(0, len(counts), 16):
        simd.add_two(numbers, base, at + base, factors[0], at + base + len(counts), factors[1])
    wide = simd.may_reach(numbers, memory(bounds), 0, cut)
    return wide, simd.reaching(numbers, 16, cut), simd.lowest_bit(wide) if wide else -1


@pytest.mark.parametrize("seed", range(20))
def test_vector_instructions_do_what_plain_loops_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    before, columns = random.integers(0, 2000, 64).astype(np.uint16), random.integers(0, 256, (2, 64)).astype(np.uint8)
    factors, cut = random.integers(0, 29_000, 2).astype(np.uint16), np.uint16(random.integers(0, 40_000))
    expected = before + sum([columns[c].astype(np.int64) * 257 * int(factors[c]) >> 16 for c in range(2)])
    counts, bounds = before.copy(), random.integers(0, 5000, 4).astype(np.uint16)
    wide, narrow, lowest = _counted(counts, columns, factors, bounds, cut)
    bounded = expected + np.repeat(bounds, 16)
    assert counts.tolist() == expected.tolist()
    assert [bool(int(wide) >> i & 1) for i in range(64)] == (bounded >= cut).tolist()
    assert [bool(int(narrow) >> i & 1) for i in range(64)] == (expected[16:32] >= cut).tolist() + [False] * 48
    assert lowest == next((i for i in range(64) if bounded[i] >= cut), -1)


def test_a_product_is_never_a_unit_away_from_the_exact_one() -> None:
    """What the proof of the bounds in kernels.py rests on."""
    product: Any = compiled(lambda impact, factor: simd.product(impact, factor))
    for exact in (0.0, 0.2, 1.0, 254.99, 1399.5, 59_999.9, 60_000.0):
        factor = np.uint16(np.ceil(exact * (65_536 / 65_535)))
        counts = np.array([product(np.uint8(impact), factor) for impact in range(256)])
        assert (np.abs(counts - np.arange(256) / 255 * exact) <= 1).all()


@pytest.mark.parametrize("offset", [0, 5, 2**31], ids=["as they are", "from 5", "beyond what a table holds"])
def test_every_term_of_every_window_is_found(offset: int) -> None:
    batches = [random_batch(seed, 200, 300, 20) for seed in range(3)]
    windows = [Window.build(SparseBatch(b.indptr, b.term_ids + np.uint32(offset), b.weights)) for b in batches]
    directory = Directory(windows)
    asked = np.arange(offset, offset + 310, dtype=np.uint32)
    places, weights, room = np.empty(310, np.int64), np.empty(310, np.float32), np.zeros(len(ROOM), np.int64)
    held = {"terms": directory.terms, "entries": directory.entries, "places": places, "weights": weights}
    numbers = {"windows": 3, "term_count": len(directory.terms)} | {name: array.ctypes.data for name, array in held.items()}
    room[:] = [numbers.get(name, 0) for name in ROOM]
    known = _looked_up(room.ctypes.data, to_read(asked), to_read(np.arange(310, dtype=np.float32)))
    places = (places[:known] - directory.entries.ctypes.data) // (3 * ENTRY_BYTES)
    assert directory.terms[places].tolist() == np.intersect1d(asked, directory.terms).tolist()
    assert (weights[:known].astype(np.int64) + offset).tolist() == directory.terms[places].tolist()
    for place, term in enumerate(directory.terms.tolist()):
        for w, window in enumerate(windows):
            held = window.arrays
            slot = int(directory.entries[place, w, REST]) >> SLOT_SHIFT
            if term not in held["terms"]:
                assert (slot, directory.entries[place, w, SPAN], directory.largest[place, w, LARGEST]) == (-1, 0, 0)
                continue
            assert held["terms"][slot] == term and held["largest"][slot] == directory.largest[place, w, LARGEST]
            start, end = held["start"][slot : slot + 2].tolist()
            expected = start << COUNT_BITS | end - start if held["column"][slot] < 0 else -1 - held["column"][slot]
            assert directory.entries[place, w, SPAN] == expected


@compiled
def _looked_up(address: Any, terms: Any, weights: Any) -> Any:
    room = room_at(address)
    look_up(room, memory(terms), memory(weights), 0, len(terms))
    return room.known


@compiled
def _total(values: Any) -> Any:
    total, numbers = 0.0, memory(values)
    for n in range(len(values)):
        total += numbers[n]
    return total


def test_kernels_refuse_arrays_with_gaps_and_take_them_without() -> None:
    values = np.arange(10.0)[::2]
    with pytest.raises(TypingError, match="contiguous"):
        _total(values)
    assert _total(to_read(values)) == 20.0
    assert to_read(values[:0]).flags.c_contiguous and not to_read(values).flags.writeable
