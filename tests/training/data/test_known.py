"""Known positives: a set of pairs, in eight bytes each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data import known
from training.data.known import KnownPositives, PairCollector, text_number

NUMBER = st.one_of(st.integers(0, 5), st.integers(2**32 - 3, 2**32 - 1), st.integers(0, 2**32 - 1))
PAIRS = st.lists(st.tuples(NUMBER, NUMBER), max_size=40)


@given(pairs=PAIRS, asked=PAIRS, parts=st.integers(1, 5), pending=st.integers(1, 50))
def test_it_is_a_set_of_pairs(pairs: list[tuple[int, int]], asked: list[tuple[int, int]], parts: int, pending: int) -> None:
    collector = PairCollector()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "PENDING", pending)
        for start in range(parts):
            columns = np.array(pairs[start::parts], dtype=np.int64).reshape(-1, 2)
            collector.add(columns[:, 0], columns[:, 1])
    positives = KnownPositives(collector.result())
    assert len(positives) == len(set(pairs))
    wanted = np.array([*asked, *pairs], dtype=np.int64).reshape(-1, 2)
    assert positives.contains(wanted[:, 0], wanted[:, 1]).tolist() == [tuple(pair) in set(pairs) for pair in wanted.tolist()]
    for query in {query for query, _ in [*asked, *pairs]}:
        assert positives.documents(query).tolist() == sorted({document for other, document in pairs if other == query})


def test_numbers_of_texts_are_stable_and_below_two_to_the_32() -> None:
    assert text_number("água") == text_number("água") != text_number("agua")
    assert 0 <= text_number("") < 2**32
    assert text_number("abc") == 1_214_419_043  # what was cached stays right
