"""What a text must be, and the rule that is applied to it before it is tokenised."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from .errors import TextError

MAX_CHARACTERS = 1_000_000
_CLUSTER = re.compile(r"[\0-\x7f][^\0-\x7f]*|[^\0-\x7f]+")  # what stands before an ASCII character is not composed with it


def check_text(text: object, what: str = "text", *, max_characters: int = MAX_CHARACTERS) -> str:
    """Return `text` if it can be encoded and stored everywhere, else raise TextError naming what is wrong and where."""
    if not isinstance(text, str):
        raise TextError(f"{what} is {type(text).__name__}: it must be a string.")
    if len(text) > max_characters:
        raise TextError(
            f"{what} has {len(text):,} characters: at most {max_characters:,} are accepted; shorten it, or split the document into parts."
        )
    if text.isascii() and "\0" not in text:  # most ids and names: nothing below can be wrong
        return text
    nul = text.find("\0")
    if nul >= 0:
        raise TextError(f"{what} has a NUL character at position {nul}: remove it (binary data?).")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        bad = ord(text[error.start])
        raise TextError(
            f"{what} has the lone surrogate U+{bad:04X} at position {error.start}: "
            "decode the source again, or use str.encode('utf-8', 'replace')."
        ) from error
    return text


def is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown_text(value: object) -> str:
    """What a payload has for a text, as it is shown: nothing for null."""
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class TextRule:
    """How a text is normalised before tokenisation. It is part of a model: training and serving use the same rule.

    Attributes:
        normalization: Unicode form; composed (NFC) and decomposed accents give the same vector.
        lowercase: fold case (a cased vocabulary such as BERTimbau's splits "Imposto" and "imposto").
    """

    normalization: Literal["NFC", "NFKC"] = "NFC"
    lowercase: bool = False

    def apply(self, text: str, what: str = "text") -> str:
        """Check and normalise one text. Raises TextError as check_text does."""
        normalized = unicodedata.normalize(self.normalization, check_text(text, what))
        return normalized.lower() if self.lowercase else normalized

    def places(self, text: str) -> list[tuple[int, int]]:
        """Start and end in `text` of what became each character of apply(text)."""
        if len(applied := self.apply(text)) == len(text) and applied.lower() == text.lower():
            return [(place, place + 1) for place in range(len(text))]
        found = list[tuple[int, int]]()
        for match in _CLUSTER.finditer(text):
            start, end = match.span()
            size = len(self.apply(match.group()))
            single = size == end - start
            found += [(start + n, start + n + 1) if single else (start, end) for n in range(size)]
        return found
