"""The external sort, against a plain dictionary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.interchange import index
from splade_ptbr_connectors.interchange.index import PostingSorter

batches = st.lists(
    st.lists(st.tuples(st.integers(0, 6) | st.just(2**32 - 1), st.integers(0, 9), st.integers(1, 9)), max_size=6), max_size=6
)


def arrays(batch: list[tuple[int, int, int]]) -> list[np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    return [np.array([posting[column] for posting in batch], np.uint32) for column in range(3)]


@given(batches=batches, run=st.integers(1, 40), block=st.integers(1, 4))
def test_groups_are_those_of_a_dictionary_for_every_size_of_a_run(batches: list[list[tuple[int, int, int]]], run: int, block: int) -> None:
    expected: dict[int, list[tuple[int, int]]] = {}
    for key, other, impact in (posting for batch in batches for posting in batch):
        expected.setdefault(key, []).append((other, impact))
    with pytest.MonkeyPatch.context() as patch, PostingSorter(run=run) as sorter:
        patch.setattr(index, "BLOCK", block)
        for batch in batches:
            sorter.add(*arrays(batch))
        keys = sorter.keys()
        assert keys.tolist() == sorted(expected)
        wanted = np.array([*reversed(keys.tolist()), 7], np.uint32)  # any order, and a key without postings
        found = {group.key: list(zip(group.others.tolist(), group.impacts.tolist(), strict=True)) for group in sorter.groups(wanted)}
    assert found == {**expected, 7: []}
    assert list(found) == wanted.tolist()


def test_runs_that_do_not_fit_go_to_the_folder_and_are_gone_afterwards(tmp_path: Path) -> None:
    with PostingSorter(tmp_path, run=3) as sorter:
        for number in range(10):
            sorter.add(*arrays([(number, 1, 1), (5, number, 2)]))
        assert len(sorter._runs) == 5
        (group,) = sorter.groups(sorter.keys()[sorter._runs[0].keys.searchsorted(5) : 6][-1:])
        assert group.key == 5 and len(group.others) == 11
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    with PostingSorter(tmp_path / "missing", run=1) as sorter, pytest.raises(InputFileError, match="temporary file"):
        sorter.add(*arrays([(1, 1, 1)]))
