"""What people are told: both languages have all of it, with the same gaps, and the locale chooses."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import splade_ptbr_connectors
from splade_ptbr_connectors.languages import Number, fill, words_of_locale

PACKAGE = Path(splade_ptbr_connectors.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("words.json") if "models" not in path.parts)


@pytest.mark.parametrize(
    ("named", "language"),
    [("pt_BR.UTF-8", "pt"), ("pt_PT", "pt"), ("Portuguese_Brazil.1252", "pt"), ("en_US.UTF-8", "en"), ("C.UTF-8", "en"), ("xpt", "en")],
)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_locale_chooses(file: Path, named: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", named)
    assert words_of_locale(file) == json.loads(file.read_text(encoding="utf-8"))[language]


def test_variables_of_the_locale_come_in_the_order_of_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LC_ALL", ""), ("LC_MESSAGES", "pt_BR"), ("LANG", "en_US")):
        monkeypatch.setenv(name, value)
    words = words_of_locale(FILES[0])
    monkeypatch.setenv("LC_ALL", "en_US")
    assert words_of_locale(FILES[0]) != words


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_both_languages_have_the_same_words_with_the_same_gaps(file: Path) -> None:
    words = json.loads(file.read_text(encoding="utf-8"))
    assert set(words) == {"pt", "en"}
    assert dict(_gaps(words["pt"])) == dict(_gaps(words["en"]))


def test_numbers_have_the_marks_of_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for named, told in (("pt_BR", "1.234,50 s de 7, a 1,5"), ("en_US", "1,234.50 s de 7, a 1.5")):
        monkeypatch.setenv("LC_ALL", named)
        assert fill("{seconds:,.2f} s de {n}, a {name}", seconds=1234.5, n=7, name=f"{Number(1.5)}") == told


def _gaps(words: dict[str, Any], where: str = "") -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Where each text is, and its gaps with their formats."""
    for name, value in words.items():
        if isinstance(value, dict):
            yield from _gaps(value, f"{where}{name}.")
        else:
            parsed = string.Formatter().parse(value)
            yield f"{where}{name}", sorted((gap, form or "", as_ or "") for _, gap, form, as_ in parsed if gap is not None)
