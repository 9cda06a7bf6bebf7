"""Forms of Portuguese words that no vocabulary lists: "murchando" has the term of "murchar", "furinhos" that of "furo".

A vocabulary has the forms of its texts; verbs, plurals and diminutives have many more, and the word pieces that an unknown form would
be read in ("mur", "##chan", "##do") mean something else. Names and foreign words, which are forms of nothing, stay in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    Ids = NDArray[np.int64]
    Piece = tuple[int, int, int]

PART = "##"  # begins a piece that goes on with a word
MAX_KNOWN = 100_000  # words that are remembered
LETTERS, OF_LONG_ENDINGS, OF_ONE_LETTER = 3, 2, 4  # of a root at least; in front of three letters or more; in front of one
_VERBS = {
    "ar": "ar ando ei ou aram ava avam avas avamos asse assem asses assemos aria ariam ariamos arei ara arao aremos arem ares armos"
    " ado ada ados adas o e em es amos emos as am a",
    "er": "er endo i eu eram ia iam ias iamos esse essem esses essemos eria eriam eriamos erei era erao eremos erem eres ermos"
    " ido ida idos idas o a am as e em es emos amos",
    "ir": "ir indo i iu iram ia iam ias iamos isse issem isses issemos iria iriam iriamos irei ira irao iremos irem ires irmos"
    " ido ida idos idas o a am as e em es imos amos",
}
_LISTED = {"ar": ("ou", "a", "ando", "ado"), "er": ("eu", "endo", "ido"), "ir": ("iu", "indo", "ido")}  # forms that texts have
_FEMININE = {"os": "oso", "iv": "ivo", "ic": "ico", "eir": "eiro", "or": "or"}  # of all words in -a, names would be a man's: Bruna, Carla
_NOUNS = (
    dict.fromkeys(("zinho", "zinha", "zinhos", "zinhas"), ("",))
    | dict.fromkeys(("inho", "inhos", "issimo"), ("o", "e", "", "a"))
    | dict.fromkeys(("inha", "inhas", "issima"), ("a", "e", "", "o"))
    | {"oes": ("ao",), "aes": ("ao",), "ais": ("al",), "eis": ("el",), "is": ("il",), "ns": ("m",)}
    | {f"{ending}a{s}": (other,) for ending, other in _FEMININE.items() for s in ("", "s")}
    | {"mente": ("", "o")}
)
KINDS = {ending: [kind for kind, endings in _VERBS.items() if ending in endings.split()] for ending in " ".join(_VERBS.values()).split()}
_LONGEST = max(map(len, (*KINDS, *_NOUNS)))


def other_forms(word: str) -> Iterator[str]:
    """Words that this one, without case and accents, may be a form of, the likelier ones first."""
    if word.endswith("s") and len(word) > LETTERS:
        yield word[:-1]
        if word.endswith(("res", "zes", "ses", "nes")) and len(word) > LETTERS + 1:
            yield word[:-2]
    for size in range(min(_LONGEST, len(word) - OF_LONG_ENDINGS), 0, -1):
        root, ending = word[:-size], word[-size:]
        if len(root) < (OF_LONG_ENDINGS if size >= LETTERS else LETTERS if size > 1 else OF_ONE_LETTER):
            continue
        kinds = KINDS.get(ending, [])
        listed = (form for kind in kinds for form in _LISTED[kind] if len(root) >= LETTERS)
        for other in (*_NOUNS.get(ending, ()), *kinds, *listed):
            yield from (spelt + other for spelt in _spellings(root, ending, other))


def _spellings(root: str, ending: str, other: str) -> Iterator[str]:
    """The root as it is spelt before the other ending: "estragu|ei" and "estrag|ar", "corrij|o" and "corrig|ir"."""
    yield root
    if ending[0] in "ei" and other[:1] in ("", "a", "o"):
        if root.endswith("qu"):
            yield root[:-2] + "c"
        elif root.endswith("gu"):
            yield root[:-1]
    elif ending[0] in "ao" and other[:1] in ("e", "i") and root.endswith("j"):
        yield root[:-1] + "g"


class Inflections:
    """Reads unknown forms of known words as these.

    Args:
        tokenizer: of whole words, and word pieces for what it does not know.
        terms: [V] the term of each token, -1 for none.
    """

    def __init__(self, tokenizer: Tokenizer, terms: Ids) -> None:
        self._tokenizer, self._terms = tokenizer, terms
        self._known: dict[str, int] = {}

    def words(self, ids: Ids) -> Ids:
        """[N] a text's tokens, with a known word on the first piece of an unknown form of it, and -1 on the others."""
        if not self._parts[ids].any():
            return ids
        words = ids.copy()
        for start, end in self._unknown(ids):
            if (word := self._word(ids[start:end])) >= 0:
                words[start], words[start + 1 : end] = word, -1
        return words

    def are_whole(self, words: Ids) -> NDArray[np.bool_]:
        """[N] whether what words() gave is a whole word, and no piece of one."""
        parts = (words >= 0) & self._parts[words]
        whole: NDArray[np.bool_] = (words >= 0) & ~parts & ~np.append(parts[1:], False)[: len(parts)]
        return whole

    def ends(self, found: list[Piece], words: Ids) -> list[int]:
        """Where the (token, start, end) of a text end; the first piece of an unknown form where the last does."""
        ends = [end for _, _, end in found]
        for start, end in self._unknown(np.array([token for token, _, _ in found], np.int64)):
            if (words[start + 1 : end] < 0).all():
                ends[start] = ends[end - 1]
        return ends

    @cached_property
    def _parts(self) -> NDArray[np.bool_]:
        """[V] whether a token goes on with a word."""
        parts = np.zeros(len(self._terms), np.bool_)
        parts[[token for word, token in self._tokenizer.get_vocab().items() if word.startswith(PART)]] = True
        return parts

    def _unknown(self, ids: Ids) -> Iterator[tuple[int, int]]:
        """Where the words that are in pieces begin and end."""
        parts = np.concatenate([[False], self._parts[ids], [False]])
        edges = np.flatnonzero(parts[1:] != parts[:-1]).tolist()
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            yield max(first - 1, 0), end

    def _word(self, ids: Ids) -> int:
        """The token of a known word with a term; -1 for none."""
        form = "".join([str(self._tokenizer.id_to_token(token)).removeprefix(PART) for token in ids.tolist()])
        if (known := self._known.get(form)) is None:
            if len(self._known) >= MAX_KNOWN:
                self._known = {}
            tokens = map(self._tokenizer.token_to_id, other_forms(form))
            known = self._known[form] = next((token for token in tokens if token is not None and self._terms[token] >= 0), -1)
        return known
