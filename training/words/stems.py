"""Which words of text share a term: the stemmer's classes, mended where Portuguese spelling says that they are wrong.

Snowball's rules see one word at a time. Here it is known which words text has, and how they are accented: "hotéis" is a plural because
text has "hotel", "verifique" a form because text has "verificar", and "rápido" no participle, because its accent is not where one has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

import Stemmer

from splade_ptbr_connectors.encoding.inflections import KINDS
from training.data.bm25 import STOP_WORDS

_OF_L = {"al": ("ais",), "el": ("eis", "éis"), "ol": ("ois", "óis"), "ul": ("uis",), "il": ("is", "eis")}
NO_PLURALS = frozenset(("deus", "seis", "antes", "quis"))  # though "deu", "sei", "ante" and "quil" are words
FEWEST, LEAST_SHARE = 3, 0.02  # of a singular's occurrences, and of those by its plural's: rarer ones are slips ("encontramo")

NO_FORMS = frozenset("vista visto revista revisto peça cheque roque surra despido despida one notre".split())  # though verbs have such
PRESENT, PAST = ("o", "a", "as", "am", "amos"), ("e", "emos", "eram", "er", "erem", "esse", "essem")
IRREGULAR = {
    PRESENT: {"caib": "caber", "dig": "dizer", "faç": "fazer", "meç": "medir", "ouç": "ouvir", "peç": "pedir", "perc": "perder"}
    | {"ponh": "por", "saib": "saber", "tenh": "ter", "trag": "trazer", "valh": "valer", "venh": "vir"},
    PAST: {"coub": "caber", "diss": "dizer", "fiz": "fazer", "soub": "saber", "tiv": "ter", "troux": "trazer"},
}
"""Roots that verbs have before some endings; those with a prefix too ("mantenha")."""
_ENDING = re.compile(r"(?P<root>\w*?[^\W_aeiou]u?)(?P<ending>amos|emos|eram|esse|essem|erem|am|as|a|em|es|ei|er|e|o)")
_LAST_VOWEL = re.compile(r"(?P<before>\w*)(?P<vowel>[aeiou])(?P<after>[^aeiou]+)")
STRESSED = frozenset("ado ada ido ida ando endo indo ara era ira aram eram iram ava avam asse esse isse ar er ir ei eu iu ou".split())
"""Endings of verbs that bear the stress: a root with an accent of its own, which says that it bears it, has none of them."""
_ACCENTS = "\u0301\u0302"  # acute and circumflex; a tilde may stand beside the stress ("órgão")


def fold(word: str) -> str:
    """Without accents and cedillas."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def plurals(word: str) -> Iterator[str]:
    """How the plural of a word with its accents may be spelt, in Portuguese or of a loanword."""
    if word[-1] not in "sxz":
        yield f"{word}s"
    if len(word) < 3:
        return
    if word[-1] in "rzn":
        yield f"{word}es"
    elif word.endswith("ão"):
        yield from (f"{word[:-2]}{ending}" for ending in ("ões", "ães"))
    elif word[-1] == "m":
        yield f"{word[:-1]}ns"
    elif word[-2:] in _OF_L:
        yield from (f"{word[:-2]}{ending}" for ending in _OF_L[word[-2:]])
    elif word[-1] == "s" and fold(word[-2]) != word[-2]:  # "mês", "país"
        yield from (f"{word[:-2]}{vowel}ses" for vowel in (word[-2], fold(word[-2])))


def infinitives(word: str) -> Iterator[str]:
    """Folded infinitives that this word, with its accents, may be a form of, if it is spelt otherwise than a regular one would be."""
    if (parts := _ENDING.fullmatch(word)) is None:
        return
    root, ending = parts["root"], parts["ending"]
    for endings, verbs in IRREGULAR.items():
        found = verbs.items() if ending in endings else ()
        yield from (fold(root.removesuffix(irregular)) + verb for irregular, verb in found if root.endswith(irregular))
    root, vowels = fold(root), dict[str, str]()
    if ending in ("e", "es", "em", "ei", "emos"):
        if root.endswith("qu"):  # "fique", "fiquei"
            yield f"{root[:-2]}car"
        elif root.endswith("gu"):
            yield f"{root[:-1]}ar"
        vowels = {"o": "u"} if ending in ("e", "es", "em") else {}  # "foge"
    elif ending in PRESENT:
        if root.endswith("j"):  # "exija"
            yield from (f"{root[:-1]}g{infinitive}" for infinitive in ("er", "ir"))
        vowels = {"i": "e", "u": "o"}  # "sinto", "durmo"
    if (last := _LAST_VOWEL.fullmatch(root)) and last["vowel"] in vowels:
        other = last["before"] + vowels[last["vowel"]] + last["after"]
        yield f"{other}uir" if other.endswith("g") and ending[0] in "oa" else f"{other}ir"  # "consigo"


class Stems:
    """Terms of folded words: the commonest accented spelling is stemmed, then folded ("avo" and "avô" are one term).

    Args:
        frequency: how often each word, with its accents, occurs in text.
    """

    def __init__(self, frequency: Mapping[str, int]) -> None:
        self._stemmer = Stemmer.Stemmer("portuguese")
        self._best: dict[str, tuple[int, str]] = {}
        for word, count in sorted(frequency.items()):
            folded = fold(word)
            self._best[folded] = max(self._best.get(folded, (0, "")), (count, word))
        self._singulars: dict[str, tuple[int, str]] = {}
        for count, word in self._best.values():
            for plural in plurals(word) if count >= FEWEST and len(word) > 1 else ():
                of_plural, spelt = self._best.get(fold(plural), (0, ""))
                if spelt == plural and plural not in NO_PLURALS and count >= LEAST_SHARE * of_plural:
                    self._singulars[plural] = max(self._singulars.get(plural, (0, "")), (count, word))

    def of(self, folded: str) -> str | None:
        """The folded stem of a folded word; None for a stop word."""
        count, word = self._best.get(folded, (0, folded))
        if word in STOP_WORDS or folded in STOP_WORDS:
            return None
        _, word = self._singulars.get(word, (0, word))
        word = self._infinitive(word) or word
        stem = self._stemmer.stemWord(word)
        return _without_vowel(word) if self._is_no_form(word, stem, count) else fold(stem)

    def _infinitive(self, word: str) -> str | None:
        """The infinitive, with its accents, that a word is an irregularly spelt form of; none if it is a regular one of another."""
        parts = _ENDING.fullmatch(fold(word))
        if parts is None or word in NO_FORMS or any(self._is_known(parts["root"] + ending) for ending in ("ar", "ir")):
            return None
        known = (self._best[one][1] for one in infinitives(word) if self._is_known(one))
        return next((one for one in known if one not in STOP_WORDS), None)

    def _is_no_form(self, word: str, stem: str, count: int) -> bool:
        """Whether the stemmer has taken off an ending of verbs though the word is none: by its accent, or as of other verbs ("comando")."""
        folded, root = fold(word), fold(stem)
        ending = folded.removeprefix(root)
        verbs = {root + kind for kind in KINDS.get(ending, ())} - {folded}  # "líder" is no infinitive either
        if ending not in STRESSED or any(map(self._is_known, verbs)):
            return False
        accented = any(accent in unicodedata.normalize("NFD", word[: len(stem)]) for accent in _ACCENTS)
        others = any(self._is_known(root + kind) for kind in ("ar", "er", "ir"))
        return accented or (others and count > FEWEST and ending.endswith(("do", "da")))

    def _is_known(self, folded: str) -> bool:
        return self._best.get(folded, (0, ""))[0] >= FEWEST


def _without_vowel(word: str) -> str:
    """A noun or an adjective as the stemmer would have it."""
    return re.sub("(os|as|es|o|a|e)$", "", fold(word))
