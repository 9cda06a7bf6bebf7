"""What the page and its command say, in Portuguese and English: static/words.json, which the page reads too."""

from __future__ import annotations

import json
import locale
import os
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "static" / "words.json"


def of_locale() -> dict[str, Any]:
    """The words of the language that this process runs in: Portuguese, or English for any other."""
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), None) or locale.getlocale()[0] or ""
    words: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return words["pt" if named.lower().startswith(("pt", "portuguese")) else "en"]
