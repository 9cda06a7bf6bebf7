"""Checked settings: what is accepted is what the type says, and the message says the same in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from splade_ptbr_connectors.errors import ConfigError, RecordError
from splade_ptbr_connectors.json_values import checked_copy
from splade_ptbr_connectors.splitting import PassageSettings
from splade_ptbr_connectors.stores.entries import check_top_k
from splade_ptbr_connectors.stores.search import check_min_score
from splade_ptbr_connectors.validation import Natural, Positive, check, read_as, renamed

Share = Annotated[float, Field(ge=0, strict=True)]


@given(st.integers())
def test_an_integer_is_accepted_within_its_bounds(value: int) -> None:
    for kind, least in ((Natural, 0), (Positive, 1)):
        if value >= least:
            check("size", value, kind)
        else:
            with pytest.raises(ConfigError, match=f"an integer of at least {least}"):
                check("size", value, kind)


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [1], float("nan")])
def test_what_only_looks_like_an_integer_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"size is .*: it must be an integer of at least 1\."):
        check("size", value, Positive)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Field(ge=1, le=10_000, strict=True)], "an integer from 1 to 10,000."),
        (Positive | None, "an integer of at least 1 or none."),
        (Share, "a finite number of at least 0."),
        (bool | None, "true or false or none."),
    ],
)
def test_the_message_says_what_is_accepted(kind: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check("size", "x" * 200, kind)
    assert str(caught.value).startswith("the argument size is 'xxx") and str(caught.value).endswith(f"it must be {words}")
    assert len(str(caught.value)) < 200


@dataclass
class Point:
    position: Natural
    name: str


def test_a_json_value_becomes_a_dataclass_or_names_the_wrong_key() -> None:
    assert read_as(Point, {"position": 3, "name": "a", "later": 1}) == Point(3, "a")
    for raw, wrong in (({"position": True, "name": "a"}, "position"), ({"position": 1}, "name"), ({"position": 1, "name": 2}, "name")):
        with pytest.raises(ValueError, match=wrong):
            read_as(Point, raw)
    with pytest.raises(ValueError, match="it"):
        read_as(Point, None)


def test_a_renamed_argument_is_taken_under_either_name_but_not_both() -> None:
    assert renamed("old", 1, "new", None) == renamed("old", None, "new", 1) == 1
    assert renamed("old", None, "new", None) is None
    with pytest.raises(ConfigError, match="new and old"):
        renamed("old", 1, "new", 1)


NUMPY_CALLS: list[tuple[Any, Callable[[Any], object]]] = [
    (np.int64(5), lambda value: check("batch_size", value, Positive)),
    (np.bool_(True), lambda value: check("group", value, bool)),
    (np.int64(5), lambda value: check_top_k("top_k", value)),
    (np.float32(1.5), check_min_score),
    (np.bool_(True), lambda value: checked_copy({"x": value}, "document 'a'")),
    (np.int64(5), lambda value: checked_copy({"x": [value]}, "document 'a'")),
    (np.int64(64), lambda value: PassageSettings(passage_tokens=value)),
]


@pytest.mark.parametrize(("value", "call"), NUMPY_CALLS)
def test_a_scalar_of_numpy_is_told_from_the_number_that_it_reads_like(value: Any, call: Callable[[Any], object]) -> None:
    with pytest.raises((ConfigError, RecordError), match=r"; this one is numpy's, give its \.item\(\)"):
        call(value)
    call(value.item())
    with pytest.raises((ConfigError, RecordError)) as refused:
        call(np.add)
    assert "numpy's" not in str(refused.value)
