"""Borders of Portuguese texts: where a paragraph, a sentence, a line or a clause ends, at the words of a text."""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise

MAX_UNIT = 64
"""Characters of a unit: longer words (links, tables without blanks, texts without spaces) are several."""

_UNIT = re.compile(rf"\S{{1,{MAX_UNIT}}}")
_OPENING, _CLOSING = "\"'([{“‘«„-–—•*", "\"')]}”’»"
_DASHES = ("-", "–", "—")
_TERMINATOR = re.compile(r"(?:[.!?…]+)$")
_INITIALS = re.compile(r"[^\W\d_](?<=[A-ZÀ-Þ])\.|(?:[^\W\d_]\.){2,}")  # J. or S.A. or a.C.
_MARKER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*|[IVXLC]{1,6}|[a-zA-Z])\.$")  # 1. or 2.3. or IV. or a. of a list, where a line begins
_NUMBER = re.compile(r"\d[\d.]*(?:-[A-Z])?[ºªo°]?\.$")
_NUMBERED = frozenset({"art", "arts", "artigo", "artigos", "§", "§§", "inc", "item", "cláusula", "capítulo", "seção", "título", "anexo"})
_BLANK_LINE = re.compile(r"[\n\u2029][^\S\n]*\n|\r[^\S\r\n]*\r|[\f\u2029]")
# Without those that are words too ("ver.", "mar."). Capitals and letters with full stops between them are known by their form.
_ABBREVIATIONS = frozenset(
    """
    art arts inc incs al alín parág cap caps cf cfr cit ob op loc ex pp pág págs pg pgs fl fls vol vols ed eds org orgs coord tít
    tit seç séc sécs sr sra srs sras srta dr dra drs dras prof profa profs profª eng engª arq adv des desa desemb min exmo exma ilmo
    ilma v.exa exa exas dep sen gov pres dir gen cel maj ten sgt alm brig pe dª st sto av rod trav pç pça pca núm nr nrs num tel fax
    proc rel res reg dec portª port súm sum ac rext resp agr ap hc ms rg cpf cnpj jan fev abr mai jun jul ago nov dez seg qua qui
    sáb n p f v d r obs aprox máx mín méd qtd qtde tb tbm vs apud et p.ex ltda cia jr
    """.split()
)


class Border(IntEnum):
    """What ends behind a unit; a stronger border is worth more."""

    NONE = -1
    """Nothing: the next unit goes on in the same word."""
    WORD = 0
    CLAUSE = 1
    LINE = 2
    SENTENCE = 3
    PARAGRAPH = 4


def units(text: str) -> list[tuple[int, int]]:
    """Start and end of every word of the text, of more than MAX_UNIT characters of each part of it; all but white space is in one."""
    return [match.span() for match in _UNIT.finditer(text)]


def borders(text: str, spans: list[tuple[int, int]]) -> list[Border]:
    """What ends behind each of these units of the text. A paragraph ends behind the last one."""
    found, begins_line = list[Border](), True
    for (start, end), (after, behind) in pairwise(spans):
        if after == end + 1 and text[end] == " " and text[end - 1].isalnum() and text[after] not in _DASHES:  # most words
            found.append(Border.WORD)
            begins_line = False
            continue
        border = _border(text[start:end], text[end:after], text[after:behind], begins_line)
        if border == Border.SENTENCE and _NUMBER.match(text[start:end]) and _heads_number(text, found, spans):
            border = Border.WORD  # "Art. 18." begins what follows
        begins_line = border in (Border.PARAGRAPH, Border.LINE) or "\n" in text[end:after]
        found.append(border)
    return [*found, Border.PARAGRAPH] if spans else []


def _heads_number(text: str, found: list[Border], spans: list[tuple[int, int]]) -> bool:
    """Whether "Art." or the like, where a sentence begins, is the unit before the one whose border is sought."""
    if not found or (len(found) > 1 and found[-2] < Border.LINE):
        return False
    start, end = spans[len(found) - 1]
    return text[start:end].rstrip(".").lower() in _NUMBERED


def _border(word: str, gap: str, following: str, begins_line: bool) -> Border:
    if not gap:
        return Border.NONE
    if _BLANK_LINE.search(gap):
        return Border.PARAGRAPH
    if _ends_sentence(word, following, begins_line):
        return Border.SENTENCE
    if "\n" in gap or "\r" in gap or "\u2028" in gap:
        return Border.LINE
    return Border.CLAUSE if word[-1] in ";:,)" or following in _DASHES else Border.WORD


def _ends_sentence(word: str, following: str, begins_line: bool) -> bool:
    """Whether a sentence ends with this word: not by the full stop of an abbreviation or a list, nor before a small letter."""
    bare = word.rstrip(_CLOSING)
    if not _TERMINATOR.search(bare):
        return False
    first = following.lstrip(_OPENING)[:1]
    if first.islower() or (not first and following not in (*_DASHES, "•", "*")):
        return False
    if not bare.endswith(".") or bare.endswith(".."):
        return True
    core = bare.lstrip(_OPENING)
    return not (_is_abbreviation(core) or (begins_line and _MARKER.fullmatch(core)))


def _is_abbreviation(word: str) -> bool:
    return bool(_INITIALS.fullmatch(word)) or word[:-1].lower() in _ABBREVIATIONS
