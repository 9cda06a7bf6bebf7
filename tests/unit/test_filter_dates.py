"""Which texts are dates: the same that Qdrant's engine reads, and the same moments."""

from __future__ import annotations

import datetime as dt

import pytest
import qdrant_edge as edge
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.filters.dates import EARLIEST, LATEST, date_time, moment, moment_of

two = st.integers(0, 61).map(lambda n: f"{n:02}") | st.integers(0, 12).map(str)
offsets = st.sampled_from(["", "Z", "z", " Z", "+03:00", "-0300", "-03", " -03:00", "+14:00", "+23:59", "+24:00", "+03:60", "+3:00", "+"])
fractions = st.just("") | st.text("0123456789", max_size=11).map(lambda digits: f".{digits}")
texts = st.builds(
    lambda year, month, day, blank, hour, rest: f"{year:04}-{month}-{day}" + (f"{blank}{hour}:{rest}" if blank else ""),
    st.integers(1, 9999),
    two,
    two,
    st.sampled_from(["", "T", " ", "t", "_"]),
    two,
    two | st.builds(lambda minute, second, fraction, offset: f"{minute}:{second}{fraction}{offset}", two, two, fractions, offsets),
)


def read_by_the_engine(text: str) -> dt.datetime | None:
    try:
        found = edge.RangeDateTime(gte=text).gte
    except ValueError:
        return None
    assert found is not None
    return dt.datetime.fromisoformat(found.removesuffix(" UTC") + "+00:00")


@given(texts)
def test_what_the_engine_reads(text: str) -> None:
    if ":60" in text or ":61" in text or "t" in text or text.endswith("z"):
        return  # leap seconds and a small t, which it reads and we do not
    found, expected = moment(text), read_by_the_engine(text)
    assert (found is None) == (expected is None)
    if found is not None and EARLIEST <= found <= LATEST:
        assert date_time(found) == expected


@given(st.datetimes() | st.datetimes(timezones=st.timezones()), st.sampled_from(["T", " "]))
def test_what_python_writes(value: dt.datetime, blank: str) -> None:
    text = value.isoformat(blank)
    offset = value.utcoffset() or dt.timedelta()
    if offset % dt.timedelta(minutes=1) == dt.timedelta() and moment_of(value) is not None:
        assert moment(text) == moment_of(value)


@given(st.dates())
def test_a_date_is_its_first_moment(value: dt.date) -> None:
    assert moment(value.isoformat()) == moment_of(value) == moment_of(dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    "text", ["", "x", "2024", "2024-03", "20240301", "2024-W09-5", "2024-03-01T12:00Z", "2024-03-01 ", "2023-02-29", "٢٠٢٤-٠٣-٠١"]
)
def test_what_is_no_date(text: str) -> None:
    assert moment(text) is None
    assert read_by_the_engine(text) is None
