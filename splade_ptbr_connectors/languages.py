"""What people are told in Portuguese and English: files of words, the language that this process speaks, and how it writes numbers."""

from __future__ import annotations

import functools
import json
import locale
import os
from pathlib import Path
from typing import Any


def words_of_locale(file: Path) -> dict[str, Any]:
    """The words of a file {"pt": {...}, "en": {...}} in the language of the locale: Portuguese, or English for any other."""
    return _read(file)[_language()]


def fill(text: str, **values: Any) -> str:
    """A text of words_of_locale() with its gaps filled, numbers as the locale writes them."""
    return text.format(**{name: Number(value) if isinstance(value, float) else value for name, value in values.items()})


class Number(float):
    """A number that is formatted with the decimal mark of the locale."""

    def __format__(self, form: str) -> str:
        text = super().__format__(form)
        return text.translate(_MARKS) if _language() == "pt" else text


_MARKS = str.maketrans(".,", ",.")


def _language() -> str:
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), None) or locale.getlocale()[0] or ""
    return "pt" if named.lower().startswith(("pt", "portuguese")) else "en"


@functools.cache
def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Once a process: every hit that is shown asks for its words."""
    words: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return words
