"""What people are told in Portuguese and English: files of words, and the language that this process speaks."""

from __future__ import annotations

import functools
import json
import locale
import os
from pathlib import Path
from typing import Any


def words_of_locale(file: Path) -> dict[str, Any]:
    """The words of a file {"pt": {...}, "en": {...}} in the language of the locale: Portuguese, or English for any other."""
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), None) or locale.getlocale()[0] or ""
    return _read(file)["pt" if named.lower().startswith(("pt", "portuguese")) else "en"]


@functools.cache
def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Once a process: every hit that is shown asks for its words."""
    words: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return words
