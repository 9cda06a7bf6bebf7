"""What the page is told, as JSON values: a store, a query as its model reads it, and hits in pieces that are marked or not.

A browser counts characters otherwise than Python, so no places are sent. Whatever a document or a query holds is plain text without
controls that would turn its direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..encoding.explain_query import explain_query
from ..encoding.explain_words import in_pieces, printable
from ..hits import Mark, add_words, hit_to_dict, marks_of, stretch, title_marks_of
from ..stores.base import Filter, Store

SHOWN_CHARACTERS = 1200  # of a text: more than a passage has; of a longer document the part that matched best

Json = dict[str, Any]


def about(store: Store) -> Json:
    """Where a store is, its model, and how many documents it holds."""
    encoder = store.encoder
    return {"url": store.url, "model": encoder.name, "fingerprint": encoder.fingerprint, "documents": store.count()}


def search(store: Store, query: str, top_k: int, filter: Filter | None = None) -> Json:
    """What a "query" becomes, its "hits", of what a filter lets pass, and "unknown_fields": names in the filter that no document has.

    Of a word of the query, heaviest first: "word", "weight" and "origin", see QueryWord. Of a hit: "doc_id", "score"; "title" and "text",
    lists of [piece, number of the matched word or None]; "before" and "behind": whether more text stands there; "passage": its "number"
    and how many there are "of" them, None for a whole document; "words": what each "word" adds ("contribution"), where it stands
    ("source", see WordMatch), and how the query has it ("origin").
    """
    vector = store.encoder.encode_query(query)
    found = store.search(vector, top_k, filter=filter)
    hits = [hit_to_dict(hit) for hit in found]
    add_words(hits, found, query, store, vector)
    asked = explain_query(query, vector, store.encoder)
    origins = {term: each.origin for each in asked for term in each.terms}
    return {
        "query": [{"word": printable(each.word), "weight": each.weight, "origin": each.origin} for each in asked],
        "hits": [_shown(hit, origins) for hit in hits],
        "unknown_fields": [printable(name) for name in store.unknown_fields(filter)],
    }


def _shown(hit: Mapping[str, Any], origins: Mapping[int, str]) -> Json:
    title, text, marks = hit["title"], hit["text"], marks_of(hit)
    start, end = (0, len(text)) if len(text) <= SHOWN_CHARACTERS else stretch(text, marks, SHOWN_CHARACTERS)
    passage = hit.get("passage")
    return {
        "doc_id": printable(hit["doc_id"]),
        "score": hit["score"],
        "title": list(pieces(title, title_marks_of(hit), 0, len(title))),
        "text": list(pieces(text, marks, start, end)),
        "before": bool(text[:start].strip()),
        "behind": bool(text[end:].strip()),
        "passage": passage and {"number": passage["number"], "of": passage["of"]},
        "words": [_word(word, origins) for word in hit["words"]],
    }


def pieces(text: str, marks: Sequence[Mark], start: int, end: int) -> Iterator[tuple[str, int | None]]:
    """The text from start to end, each piece with the number of the word that is marked there, or None."""
    return in_pieces(text, [(mark.start, mark.end, mark.word) for mark in marks], start, end)


def _word(word: Mapping[str, Any], origins: Mapping[int, str]) -> Json:
    shown = {name: word[name] for name in ("contribution", "source")}
    return {"word": printable(word["word"]), "origin": origins[word["terms"][0]["term_id"]], **shown}
