"""Numbers are ASCII digits: what Python's own int() and float() accept beyond that is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.numerals import integer, number, value_of


@given(st.integers(-(10**300), 10**300))
def test_integers_come_back(value: int) -> None:
    assert integer(str(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back(value: float) -> None:
    assert number(repr(value)) == value


@given(st.text(st.sampled_from("0123456789_+-.eE١²x \n"), max_size=6))
def test_what_is_read_is_what_python_reads_and_only_that(text: str) -> None:
    for read, kind in ((integer, int), (number, float)):
        found = read(text)
        if found is not None:
            assert found == kind(text) and set(text) <= set("0123456789+-.eE")


@given(
    st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["yes", "1_0", "nan", ""])
)
def test_values_come_back_with_their_kind_and_other_texts_as_they_are(value: str | float) -> None:
    found = value_of(str(value))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["", " 1", "1\n", "1_0", "١", "²", "nan", "inf", "-Infinity", "0x10", "1e999", "9" * 5000, "1.5.2", "."])
def test_what_is_no_number(text: str) -> None:
    assert integer(text) is None and number(text) is None
