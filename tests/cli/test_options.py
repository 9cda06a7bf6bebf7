"""Values of --setting: numbers as people write them become numbers, everything else stays the text that it is."""

from __future__ import annotations

import pytest

from splade_ptbr_connectors.cli.options import read_settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("True", True),
        ("1_0", "1_0"),
        ("١", "١"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("", ""),
    ],
)
def test_values(text: str, value: object) -> None:
    found = read_settings([f"name={text}"])["name"]
    assert found == value and type(found) is type(value)
