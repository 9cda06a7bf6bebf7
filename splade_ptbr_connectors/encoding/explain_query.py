"""What a model makes of a query, in words: those that the asker wrote, and those that the model adds, each with its weight."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from ..vectors import SparseVector
from .explain import explain
from .explain_words import TextWords, readable
from .protocol import Addition, Encoder, NamesAdditions, ShowsPieces

Origin = Literal["word", "term"] | Addition


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word and its weight in a query.

    Attributes:
        word: as the query has it; of an added one the model's term.
        weight: the sum over `terms`.
        origin: "word": it stands in the query; "thesaurus", "concepts" or "network": what added it; "term": the encoder does not show.
        terms: ids of the model's terms; each belongs to one word.
    """

    word: str
    weight: float
    origin: Origin
    terms: tuple[int, ...]


def explain_query(query: str, vector: SparseVector, encoder: Encoder) -> tuple[QueryWord, ...]:
    """Split the weights of an encoded query into words, heaviest first.

    Args:
        vector: of the query.
        encoder: shows where its terms stand in texts, and what adds the others; see protocol.ShowsPieces and NamesAdditions.
    """
    weights = vector.to_dict()
    asked = TextWords.of(query, encoder, explain(vector, SparseVector(vector.term_ids, [1.0] * len(vector)), encoder.token).contributions)
    groups: dict[tuple[str, Origin], list[int]] = defaultdict(list)
    for term in weights:
        word = asked.word_of(term)
        groups[(asked.spelled(word), "word") if word else (readable(encoder.token(term)), _added_by(term, encoder))].append(term)
    words = [QueryWord(word, sum(weights[term] for term in terms), origin, tuple(terms)) for (word, origin), terms in groups.items()]
    return tuple(sorted(words, key=lambda each: (-each.weight, each.word)))


def _added_by(term: int, encoder: Encoder) -> Origin:
    return encoder.added_by(term) if isinstance(encoder, NamesAdditions) and isinstance(encoder, ShowsPieces) else "term"
