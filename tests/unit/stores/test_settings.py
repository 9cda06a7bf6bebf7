"""Settings of an engine: from the call and from the URL, of the right type, and those that a store has fixed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, Field, PositiveFloat

from splade_ptbr_connectors.errors import ConfigError, StoreFormatError
from splade_ptbr_connectors.stores.settings import StoreSettings, as_stored, read_settings
from tests.support.told import told

SECRET = "hunter" + "2"


class Example(StoreSettings):
    name: str = "a"
    shards: int | None = None
    on_disk: bool = False
    ratio: float = 0.5
    kind: Literal["plain", "fast"] = "plain"
    count: Annotated[int, Field(ge=1, le=3000)] | None = None
    wait_s: PositiveFloat = Field(default=1.0, validation_alias=AliasChoices("wait_s", "patience_s"))


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
        (
            {"shard": 1},
            {},
            "unknown store setting 'shard' .did you mean 'shards'..; known: name, shards, on_disk, ",
        ),
        ({}, {"shard": "1"}, "unknown store setting 'shard'"),
        ({3: 1}, {}, "unknown store setting '3'"),
        ({"dense_size": 3}, {}, "unknown store setting 'dense_size'; .* keeps no dense vectors: use edge or qdrant"),
        ({"shards": 1}, {"shards": "1"}, "given in the URL and as a setting"),
        ({"wait_s": 1}, {"patience_s": "1"}, "unknown store setting 'patience_s'"),
        ({"shards": "1"}, {}, "store setting shards is '1': it must be an integer or none"),
        ({"shards": True}, {}, "shards is True"),
        ({"shards": 1.0}, {}, "shards is 1.0"),
        ({"on_disk": 1}, {}, "on_disk is 1: it must be true or false"),
        ({"name": None}, {}, "name is None: it must be a string"),
        ({"kind": "slow"}, {}, "kind is 'slow': it must be one of plain, fast"),
        ({"kind": None}, {}, "kind is None: it must be one of plain, fast"),
        ({"count": 0}, {}, "count is 0: it must be an integer from 1 to 3,000 or none"),
        ({"count": 3001}, {}, "count is 3001: it must be an integer from 1 to 3,000 or none"),
        ({"wait_s": 0}, {}, "wait_s is 0: it must be a finite number above 0"),
        ({}, {"shards": "one"}, "shards is 'one'"),
        ({}, {"on_disk": "yes"}, "on_disk is 'yes': it must be true or false"),
        ({}, {"ratio": "x"}, "ratio is 'x': it must be a finite number"),
        ({}, {"ratio": "inf"}, "ratio is 'inf': it must be a finite number"),
        ({"ratio": float("nan")}, {}, "ratio is nan: it must be a finite number"),
        ({"ratio": 10**400}, {}, "it must be a finite number"),
        ({}, {"shards": "1_0"}, "shards is '1_0': it must be an integer"),
        ({}, {"shards": "١"}, "shards is '١': it must be an integer"),
        ({}, {"shards": "1.0"}, "shards is 1.0: it must be an integer"),
    ],
)
def test_what_is_no_setting(given: Any, texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(Example, given, texts)


def test_no_error_holds_a_value_of_another_setting() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(Example, {"name": SECRET, "shards": "x"}, {"api_key": SECRET})
    assert SECRET not in told(caught.value)


def test_an_integer_will_do_for_a_float() -> None:
    assert read_settings(Example, {"ratio": 1}) == Example(ratio=1.0)


def test_a_text_stays_one_that_looks_like_a_number() -> None:
    assert read_settings(Example, {}, {"name": "12"}).name == "12"


def test_an_earlier_name_is_still_read() -> None:
    assert read_settings(Example, {}, {"patience_s": "2"}) == Example(wait_s=2.0)
    with pytest.raises(ConfigError, match="wait_s is 0: it must be a finite number above 0"):
        read_settings(Example, {"patience_s": 0})


@given(values, values)
def test_a_store_keeps_its_settings_unless_others_are_asked_for(asked: dict[str, Any], stored: dict[str, Any]) -> None:
    settings = read_settings(Example, asked)
    if any(asked[name] != stored[name] for name in asked.keys() & stored.keys()):
        with pytest.raises(StoreFormatError, match="leave the setting out"):
            as_stored(settings, stored, "url")
    else:
        found = as_stored(settings, stored, "url")
        assert all(getattr(found, name) == {**asked, **stored}.get(name, field.default) for name, field in Example.model_fields.items())
