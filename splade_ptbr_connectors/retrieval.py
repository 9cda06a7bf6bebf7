"""What the retrievers of every framework share: hits as text and metadata, filters combined.

No ranking happens here: a retriever returns what its store returns, in the same order and with the same scores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .encoding.explain_words import WordExplanation, explain_words
from .errors import ConfigError
from .filters import parse_filter, shown_within
from .stores.payloads import NODE_FIELD
from .strict import did_you_mean
from .text import shown_text
from .validation import Natural, check
from .vectors import SparseVector

if TYPE_CHECKING:
    from .stores.base import Entry, Hit, Store


METADATA = "metadata"


def visible_filter(filter: Any | None) -> Any | None:
    """A filter by the names that a framework shows: "year" is the field year, or the field year within "metadata".

    Args:
        filter: None, a filter mapping; or conditions or an engine's own filter object, which are taken as they are.

    Raises:
        ConfigError: a mapping that is not a filter.
    """
    return (shown_within(parse_filter(filter), METADATA) if isinstance(filter, Mapping) else filter) or None


def combine_filters(fixed: Any | None, narrowing: Any | None) -> Any | None:
    """A filter that requires both: the filter of one call can narrow a retriever's own, never widen it.

    Args:
        fixed: as visible_filter() takes it; an engine's own filter object cannot be combined.
        narrowing: the same.
    """
    first, second = visible_filter(fixed), visible_filter(narrowing)
    if not first or not second:
        return first or second
    for filter in (first, second):
        if not isinstance(filter, tuple):
            raise ConfigError(
                f"a {type(filter).__name__} cannot be combined with the retriever's own filter: use filter mappings for both."
            )
    return first + second


CALL_ARGUMENTS = ("k", "filter", "min_score")  # of LangChain's faces, for one search
NUMBERS = ("k", "top_k", "similarity_top_k")  # what one face or another calls the number of hits


def check_arguments(face: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ConfigError for an argument that a face does not have, with the one that is meant, if it is close to a known one."""
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        meant = next((name for name in NUMBERS if unknown in NUMBERS and name in known), unknown)
        raise ConfigError(f"unknown argument {unknown!r} of {face}{did_you_mean(meant, known)}; known: {', '.join(known)}.")


CONTENTS = ("passage", "document", "neighbours")
WORDS_KEY = "matched_words"  # of the metadata, with explain=True


def check_content(content: object, neighbours: object) -> None:
    """Raise ConfigError for what content_and_metadata() does not take."""
    if content not in CONTENTS:
        raise ConfigError(f"content is {content!r:.80}: it must be one of {', '.join(CONTENTS)}.")
    check("neighbours", neighbours, Natural)


def content_and_metadata(hit: Hit, content_key: str, content: str = "document", neighbours: int = 1) -> tuple[str, dict[str, Any]]:
    """Split a payload into the text and everything else, the nested "metadata" mapping merged in flat.

    Of a document of several passages the text is what `content` says: the passage that was found, the whole document, or the passage
    with so many neighbours before and behind it. The metadata of a part then hold the "passage_number", and "passage_start" and
    "passage_end" of what is shown. A whole document is the same whichever passage was found, and so are its metadata.

    A field beside "metadata" hides one of the same name inside it, unless it is blank. A blank title is left out. A payload without
    any fields (vectors loaded without one) has blank content.

    Raises:
        ConfigError: the payload has fields, but not this one.
    """
    payload = dict(hit.payload)
    if payload and content_key not in payload:
        raise ConfigError(f"document {hit.doc_id!r} has no {content_key!r} field: set content_key to one of {', '.join(payload)}.")
    text = shown_text(payload.pop(content_key, None))
    payload.pop(NODE_FIELD, None)
    nested = payload.get("metadata")
    metadata = dict(payload.pop("metadata")) if isinstance(nested, Mapping) else {}
    metadata.update({name: value for name, value in payload.items() if value != "" or name not in ("title", *metadata)})
    if part := shown_part(hit, content_key, content, neighbours):
        start, end = part
        return text[start:end], metadata | {"passage_number": hit.passage.number, "passage_start": start, "passage_end": end}
    return text, metadata


def shown_part(hit: Hit, content_key: str, content: str, neighbours: int) -> tuple[int, int] | None:
    """Start and end of what content_and_metadata() gives of a text; None: all of it."""
    if hit.place is None or content_key != "text" or content == "document":
        return None
    shown = hit.passages(neighbours if content == "neighbours" else 0)
    return shown[0].start, shown[-1].end


def moved(words: Mapping[str, Any], content_key: str, by: int) -> dict[str, Any]:
    """What words_metadata() says, its places moved to where a content has them; one that is not of the text has none of them."""
    return {
        name: [{**word, "places": [_moved(place, by) for place in word["places"] if content_key == "text"]} for word in found]
        for name, found in words.items()
    }


def _moved(place: Mapping[str, int], by: int) -> dict[str, int]:
    return {name: position + by for name, position in place.items()}


def explain_hits(
    store: Store, query: str | SparseVector, hits: Sequence[Hit], vector: SparseVector | None = None
) -> list[WordExplanation | None]:
    """For each hit the words that made its passage match, largest contribution first; of a hit without a place its best passage's.

    The vectors are compared as the engine keeps them, so the contributions add up to the hit's score within the engine's precision;
    where that is a mean of several passages (`best`), to the score of its best one.
    None stands for a document that is stored no more.

    Args:
        vector: of a query that is a text and was encoded for the search; None encodes it.

    Raises:
        ConfigError: not a store, or not a list of hits.
    """
    doc_ids = _ids(store, hits)
    return _all_explained(store, query, hits, store.get(doc_ids), vector)


async def aexplain_hits(store: Store, query: str | SparseVector, hits: Sequence[Hit]) -> list[WordExplanation | None]:
    """explain_hits() without blocking the event loop."""
    doc_ids = _ids(store, hits)
    return await asyncio.to_thread(_all_explained, store, query, hits, await store.aget(doc_ids))


def _ids(store: Store, hits: Sequence[Hit]) -> list[str]:
    from .stores.base import Hit, check_is_store

    check_is_store(store)
    if not isinstance(hits, list | tuple) or isinstance(hits, Hit) or not all([isinstance(hit, Hit) for hit in hits]):
        raise ConfigError(f"hits is {hits!r:.80}: it must be a list of hits, such as store.search(query) gives.")
    return [hit.doc_id for hit in hits]


def words_metadata(store: Store, query: str, hits: Sequence[Hit], explain: bool) -> list[dict[str, Any]]:
    """What a retriever's `explain` adds to the metadata of each hit: the words that made its passage match, largest contribution first.

    Each word is a dict of JSON values: "word", "contribution", "source", "places" and "title_places" (lists of {"start", "end"} in
    characters of the document's text and of its title) and "query_word", see WordMatch. A retriever moves the "places" by moved(), so that
    they are characters of the content that it shows. No words of a document that is stored no more.
    """
    return [_words(found) for found in explain_hits(store, query, hits)] if explain else [{} for _ in hits]


async def awords_metadata(store: Store, query: str, hits: Sequence[Hit], explain: bool) -> list[dict[str, Any]]:
    """words_metadata() without blocking the event loop."""
    return [_words(found) for found in await aexplain_hits(store, query, hits)] if explain else [{} for _ in hits]


def _words(explanation: WordExplanation | None) -> dict[str, Any]:
    words = explanation.to_dict()["words"] if explanation is not None else []
    return {WORDS_KEY: [{name: value for name, value in word.items() if name != "terms"} for word in words]}


def _all_explained(
    store: Store, query: str | SparseVector, hits: Sequence[Hit], entries: Mapping[str, Entry], vector: SparseVector | None = None
) -> list[WordExplanation | None]:
    text = None if isinstance(query, SparseVector) else query
    if vector is None:
        vector = query if isinstance(query, SparseVector) else store.encoder.encode_query(query)
    return [_explained(store, text, vector, entries[hit.doc_id], hit) if hit.doc_id in entries else None for hit in hits]


def _explained(store: Store, query: str | None, vector: SparseVector, entry: Entry, hit: Hit) -> WordExplanation | None:
    vectors = [store.quantized(each) for each in entry.vectors]
    number = hit.place.number if hit.place is not None else max(range(len(vectors)), key=lambda each: vector.dot(vectors[each]))
    if number >= len(vectors):
        return None
    title, text = (str(entry.payload.get(name) or "") for name in ("title", "text"))
    start, end = entry.spans[number] if entry.passages else (0, len(text))
    return explain_words(vector, vectors[number], store.encoder, query=query, title=title, text=text[start:end], start=start)
