"""Documents of LangChain: made of a store's hits, and made into records for a store.

A document that is added comes back equal: same text, same metadata, same id. Nothing of a search is in it unless asked for: two searches
that find the same document give equal ones, which is what LangChain tells duplicates by.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.documents import Document

from ..errors import ConfigError
from ..records import Record
from ..retrieval import check_content, content_and_metadata, moved, shown_part
from ..stores.base import Hit
from ..stores.payloads import NAMESPACE


@dataclass(frozen=True, slots=True)
class View:
    """How hits are shown; the attributes are SpladeRetriever's."""

    content_key: str = "text"
    content: str = "passage"
    neighbours: int = 1
    title: bool = False
    score_key: str | None = None

    def __post_init__(self) -> None:
        check_content(self.content, self.neighbours)

    def document(self, hit: Hit, words: Mapping[str, Any] | None = None) -> Document:
        """The document of a hit; `words`, of words_metadata(), are further metadata. Raises ConfigError."""
        text, metadata = content_and_metadata(hit, self.content_key, self.content, self.neighbours)
        title = hit.payload.get("title") if self.title and self.content_key != "title" else None
        front = f"{title}\n\n" if isinstance(title, str) and title.strip() else ""
        start, _ = shown_part(hit, self.content_key, self.content, self.neighbours) or (0, 0)
        metadata |= moved(words or {}, self.content_key, len(front) - start)
        if self.score_key is not None:
            if self.score_key in metadata:
                raise ConfigError(f"document {hit.doc_id!r} has a field {self.score_key!r} of its own: give score_key another name.")
            metadata[self.score_key] = hit.score
        return Document(id=hit.doc_id, page_content=front + text, metadata=metadata)


def check_documents(documents: object) -> list[Document]:
    """The documents as a list. Raises ConfigError for anything else."""
    several = isinstance(documents, Iterable) and not isinstance(documents, str | Mapping | Document)
    found: list[Any] = list(documents) if several else [documents]  # type: ignore[call-overload]
    wrong = [each for each in found if not (several and isinstance(each, Document))]
    if wrong:
        raise ConfigError(
            f"documents is or holds {wrong[0]!r:.80}: it must be a list of LangChain documents, such as [Document(page_content='...')]; "
            "add_texts() takes texts."
        )
    return found


def to_records(texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None, ids: Sequence[str | None] | None) -> list[Record]:
    """Each text with its metadata as a record, all checked; a "title" among the metadata is encoded in front of the text.

    A text without an id gets one made of text and metadata, so that adding it again changes nothing.

    Raises:
        ConfigError: not as many metadatas or ids as texts.
        RecordError, TextError: one that cannot be stored.
    """
    if isinstance(texts, str):
        raise ConfigError(f"texts is {texts!r:.80}: it must be a list of texts, such as [text].")
    texts = list(texts)
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given is not None and len(given) != len(texts):
            raise ConfigError(f"{len(texts):,} texts come with {len(given):,} {name}: give one for each text, or none at all.")
    return [
        _to_record(number, text, (metadatas[number] if metadatas else None) or {}, ids[number] if ids else None)
        for number, text in enumerate(texts)
    ]


def _to_record(number: int, text: str, metadata: Mapping[str, Any], doc_id: str | None) -> Record:
    title = metadata.get("title") if isinstance(metadata, Mapping) else None
    raw = {"title": title if isinstance(title, str) else None, "text": text, "metadata": metadata}
    record = Record.from_mapping({"_id": f"number {number}" if doc_id is None else doc_id, **raw})
    if doc_id is not None:
        return record
    return replace(record, doc_id=str(uuid.uuid5(NAMESPACE, json.dumps(record.payload, sort_keys=True))))
