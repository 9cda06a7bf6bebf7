"""Settings of an engine: from the call and from the URL, of the right type, and those that a store has fixed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, StoreFormatError
from splade_ptbr_connectors.stores.settings import as_stored, check_choice, check_count, read_settings


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str = "a"
    shards: int | None = None
    on_disk: bool = False
    ratio: float = 0.5


values = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text("abc"),
        "shards": st.integers(),
        "on_disk": st.booleans(),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
    },
)


@given(values)
def test_settings_mean_the_same_in_the_call_and_in_the_url(given_values: dict[str, Any]) -> None:
    texts = {name: str(value) for name, value in given_values.items()}
    assert read_settings(Example, given_values) == read_settings(Example, {}, texts) == Example(**given_values)


@pytest.mark.parametrize(
    ("given", "texts", "message"),
    [
        ({"shard": 1}, {}, "unknown store setting 'shard' .did you mean 'shards'..; known: name, shards, on_disk, ratio"),
        ({}, {"shard": "1"}, "unknown store setting 'shard'"),
        ({3: 1}, {}, "unknown store setting 3"),
        ({"shards": 1}, {"shards": "1"}, "given in the URL and as a setting"),
        ({"shards": "1"}, {}, "shards is '1': it must be int or none"),
        ({"shards": True}, {}, "shards is True"),
        ({"shards": 1.0}, {}, "shards is 1.0"),
        ({"on_disk": 1}, {}, "on_disk is 1: it must be bool"),
        ({"name": None}, {}, "name is None: it must be str"),
        ({}, {"shards": "one"}, "shards is 'one'"),
        ({}, {"on_disk": "yes"}, "on_disk is 'yes': it must be bool"),
        ({}, {"ratio": "x"}, "ratio is 'x': it must be a finite float"),
        ({}, {"ratio": "inf"}, "ratio is 'inf': it must be a finite float"),
        ({"ratio": float("nan")}, {}, "ratio is nan: it must be a finite float"),
        ({"ratio": 10**400}, {}, "it must be a finite float"),
        ({}, {"shards": "1_0"}, "shards is '1_0': it must be int"),
        ({}, {"shards": "١"}, "shards is '١': it must be int"),
    ],
)
def test_what_is_no_setting(given: Any, texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(Example, given, texts)


def test_an_integer_will_do_for_a_float() -> None:
    assert read_settings(Example, {"ratio": 1}) == Example(ratio=1.0)


@given(values, values)
def test_a_store_keeps_its_settings_unless_others_are_asked_for(asked: dict[str, Any], stored: dict[str, Any]) -> None:
    settings = read_settings(Example, asked)
    if any(asked[name] != stored[name] for name in asked.keys() & stored.keys()):
        with pytest.raises(StoreFormatError, match="leave the setting out"):
            as_stored(settings, asked, stored, "url")
    else:
        found = as_stored(settings, asked, stored, "url")
        assert all(getattr(found, field.name) == {**asked, **stored}.get(field.name, field.default) for field in fields(Example))


def test_choices_and_counts() -> None:
    check_choice("datatype", "a", ("a", "b"))
    check_count("shards", None, 3)
    check_count("shards", 3, 3)
    with pytest.raises(ConfigError, match="datatype is 'c': it must be one of a, b"):
        check_choice("datatype", "c", ("a", "b"))
    for count in (0, 4, -1):
        with pytest.raises(ConfigError, match=f"shards is {count}: it must be an integer from 1 to 3"):
            check_count("shards", count, 3)
