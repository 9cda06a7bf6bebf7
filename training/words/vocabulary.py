"""The vocabulary of a model of words: folded words of text, thesaurus and training passages, with word pieces for all others."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import Stemmer
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import Split

from splade_ptbr_connectors.encoding.tokens import BETWEEN_WORDS
from training.data.bm25 import STOP_WORDS

SPECIAL = ("[PAD]", "[UNK]")
_WORD = re.compile(r"[^\W_]+")
_OF_L = {"al": ("ais",), "el": ("eis", "éis"), "ol": ("ois", "óis"), "ul": ("uis",), "il": ("is", "eis")}
NO_PLURALS = frozenset(("deus", "seis", "antes", "quis"))  # though "deu", "sei", "ante" and "quil" are words
FEWEST, LEAST_SHARE = 3, 0.02  # of a singular's occurrences, and of those by its plural's: rarer ones are slips ("encontramo")


def fold(word: str) -> str:
    """Without accents and cedillas."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def words_of(text: str) -> list[str]:
    """Lower-cased words with their accents."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def plurals(word: str) -> Iterator[str]:
    """How the plural of a word with its accents may be spelt, in Portuguese or of a loanword."""
    if word[-1] not in "sxz":
        yield f"{word}s"
    if word[-1] in "rzn":
        yield f"{word}es"
    elif word.endswith("ão"):
        yield from (f"{word[:-2]}{ending}" for ending in ("ões", "ães"))
    elif word[-1] == "m":
        yield f"{word[:-1]}ns"
    elif word[-2:] in _OF_L:
        yield from (f"{word[:-2]}{ending}" for ending in _OF_L[word[-2:]])
    elif len(word) > 1 and word[-1] == "s" and fold(word[-2]) != word[-2]:  # "mês", "país"
        yield from (f"{word[:-2]}{vowel}ses" for vowel in (word[-2], fold(word[-2])))


class Spellings:
    """Terms of folded words: the commonest accented spelling is stemmed, then folded ("avo" and "avô" are one term).

    A plural has the term of its singular: the stemmer keeps apart what it knows no rule for ("hotel" and "hotéis", "ano" and "anos").

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

    def term(self, folded: str) -> str | None:
        """The folded stem of a folded word; None for a stop word."""
        _, word = self._best.get(folded, (0, folded))
        if word in STOP_WORDS or folded in STOP_WORDS:
            return None
        _, word = self._singulars.get(word, (0, word))
        return fold(self._stemmer.stemWord(word))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their terms.

    Attributes:
        tokens: [V] the terms that text has come first, the commonest first.
        terms: [V] the token that stands for each token's term, -1 for none.
    """

    tokens: list[str]
    terms: list[int]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def are_terms(self) -> NDArray[np.bool_]:
        """[V] tokens that stand for a term."""
        return np.array(self.terms) == np.arange(len(self.terms))

    @property
    def are_forms(self) -> NDArray[np.bool_]:
        """[V] tokens of a term that another one stands for."""
        return ~self.are_terms & (np.array(self.terms) >= 0)

    def tokenizer(self) -> Tokenizer:
        """WordPiece over folded words; everything between words is left out, and nothing is put around a text."""
        tokenizer = Tokenizer(WordPiece(self.ids, unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
        tokenizer.pre_tokenizer = Split(Regex(BETWEEN_WORDS), "removed")
        tokenizer.add_special_tokens(list(SPECIAL))
        return tokenizer


def build_vocabulary(common: Counter[str], always: Iterable[str], pieces: Sequence[str], *, min_count: int, largest: int) -> Vocabulary:
    """A vocabulary of whole words and pieces.

    Args:
        common: words of text, with their accents, and how often they occur.
        always: words that are taken however rare they are (thesaurus, training passages and queries).
        pieces: a WordPiece vocabulary for the words that are not taken.
        min_count: occurrences that a word of text needs, all its spellings together.
        largest: whole words at most, the commonest.
    """
    folded: Counter[str] = Counter()
    for word, count in common.items():
        folded[fold(word)] += count
    taken = {word for word, count in folded.most_common(largest) if count >= min_count and len(word) <= 30} | set(map(fold, always))
    whole, inside = _pieces(pieces)
    spellings = Spellings(common)
    groups: dict[str, list[str]] = {}
    lone = []
    for word in sorted(taken | whole, key=lambda word: (-folded[word], word)):
        term = spellings.term(word)
        if term is None:
            lone.append(word)
        else:
            groups.setdefault(term, []).append(word)
    return _numbered(list(groups.values()), lone, inside, folded)


def _numbered(groups: list[list[str]], stop: list[str], inside: list[str], frequency: Mapping[str, int]) -> Vocabulary:
    """Ids: special tokens, the commonest word of each term by the term's frequency, pieces, all other words."""
    groups.sort(key=lambda words: (-sum(frequency[word] for word in words), words[0]))
    heads = [words[0] for words in groups]
    others = [word for words in groups for word in words[1:]]
    tokens = [*SPECIAL, *heads, *inside, *others, *stop]
    ids = {token: index for index, token in enumerate(tokens)}
    terms = list(range(len(tokens)))
    for words in groups:
        for word in words:
            terms[ids[word]] = ids[words[0]]
    for token in (*SPECIAL, *stop):
        terms[ids[token]] = -1
    return Vocabulary(tokens, terms)


def _pieces(vocabulary: Sequence[str]) -> tuple[set[str], list[str]]:
    """(whole words, pieces inside words), folded; both with every single character, so that no word of known letters is lost."""
    plain = [fold(token.lower()) for token in vocabulary if not token.startswith("[")]
    whole = {token for token in plain if not token.startswith("##") and _WORD.fullmatch(token)}
    inside = {token[2:] for token in plain if token.startswith("##") and _WORD.fullmatch(token[2:])}
    single = {token for token in whole | inside if len(token) == 1}
    return whole | single, [f"##{token}" for token in sorted(inside | single)]
