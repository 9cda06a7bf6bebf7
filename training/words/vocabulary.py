"""The vocabulary of a model of words: folded words of text, thesaurus and training passages, with word pieces for all others."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import Split

from splade_ptbr_connectors.encoding.tokens import BETWEEN_WORDS
from training.words.stems import Stems, fold

SPECIAL = ("[PAD]", "[UNK]")
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Lower-cased words with their accents."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


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
    stems = Stems(common)
    groups: dict[str, list[str]] = {}
    lone = []
    for word in sorted(taken | whole, key=lambda word: (-folded[word], word)):
        term = stems.of(word)
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
