"""Nodes of LlamaIndex: made into records for a store, and made of a store's hits.

A node that is added comes back equal: same class, id, text, metadata, relationships, offsets, excluded keys and hash. Its text and its
metadata are kept as those of any other document, for searches, filters and the other ways to read a store; the field `_node` keeps
the rest as LlamaIndex writes it, with the metadata once more: a hash depends on their order, which not every engine keeps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.schema import BaseNode, Document, ImageDocument, ImageNode, IndexNode, MetadataMode, Node, NodeWithScore, TextNode

from ..dense import checked_vectors
from ..errors import RecordError, StoreFormatError
from ..json_values import checked_copy
from ..records import Record, unique
from ..retrieval import check_content, content_and_metadata, moved, shown_part
from ..stores.base import Hit
from ..stores.payloads import NODE_FIELD

REF_FIELD = "ref_doc_id"  # the document that a node was cut from; of a node without one, itself
ID_PATH = f"{NODE_FIELD}.id"
_CLASSES: dict[str, type[BaseNode]] = {each.class_name(): each for each in (Node, TextNode, ImageNode, IndexNode, Document, ImageDocument)}
_ELSEWHERE: Any = {"embedding": True, "text": True, "text_resource": {"text"}}


@dataclass(frozen=True, slots=True)
class View:
    """How hits are shown; the attributes are SpladeRetriever's."""

    content_key: str = "text"
    content: str = "passage"
    neighbours: int = 1

    def __post_init__(self) -> None:
        check_content(self.content, self.neighbours)

    def node(self, hit: Hit, words: Mapping[str, Any] | None = None) -> NodeWithScore:
        """The node of a hit; `words`, of words_metadata(), are further metadata. Raises ConfigError, StoreFormatError."""
        text, metadata = content_and_metadata(hit, self.content_key, self.content, self.neighbours)
        if NODE_FIELD in hit.payload and self.content_key == "text":
            node = _stored(hit, text)
        else:
            node = TextNode(id_=hit.doc_id, text=text, metadata=metadata)
        part = shown_part(hit, self.content_key, self.content, self.neighbours)
        place = _place(node, metadata, NODE_FIELD in hit.payload) if part else {}
        _add(node, place, moved(words or {}, self.content_key, -part[0] if part else 0))
        return NodeWithScore(node=node, score=hit.score)


def _place(node: BaseNode, metadata: Mapping[str, Any], cut_before: bool) -> dict[str, Any]:
    """Where in its document the part is that a node shows; its offsets are those of the part."""
    start, end = metadata["passage_start"], metadata["passage_end"]
    before = getattr(node, "start_char_idx", None) if cut_before else 0
    if isinstance(node, TextNode) and before is not None:
        node.start_char_idx, node.end_char_idx = before + start, before + end
    return {"passage_number": metadata["passage_number"], "passage_start": start, "passage_end": end}


def _add(node: BaseNode, place: Mapping[str, Any], words: Mapping[str, Any]) -> None:
    """Metadata that say something of the search: pages of numbers, nothing for a prompt or an embedding."""
    if place or words:
        node.metadata = {**node.metadata, **place, **words}
        node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, *place, *words]
        node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, *place, *words]


def _stored(hit: Hit, text: str) -> BaseNode:
    kept = hit.payload[NODE_FIELD]
    try:
        kind, data = _CLASSES.get(kept["class"], TextNode), json.loads(kept["json"])
        if not issubclass(kind, Node):
            data["text"] = text
        elif data.get("text_resource") is not None:
            data["text_resource"]["text"] = text
        return kind.from_dict(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreFormatError(
            f"the field {NODE_FIELD!r} of document {hit.doc_id!r} is not a node of LlamaIndex ({type(error).__name__}): add the node again."
        ) from error


def to_records(nodes: Iterable[BaseNode], *, with_dense: bool = False) -> list[Record]:
    """Each node as a record, all checked. Its metadata, as far as it shows them to embeddings, are encoded in front of its text.

    Args:
        with_dense: the embedding that a node brings is its dense vector.

    Raises:
        RecordError, TextError: one that cannot be stored, or two different ones of the same id.
        ModelFormatError: an embedding that is no vector of numbers.
    """
    records = [(_to_record(node), node.embedding if with_dense else None) for node in nodes]
    return unique([record if given is None else replace(record, dense=tuple(checked_vectors([given], 1)[0])) for record, given in records])


def _to_record(node: object) -> Record:
    if not isinstance(node, BaseNode):
        raise RecordError(f"a node is {node!r:.80}: it must be a node of LlamaIndex, such as a TextNode.")
    metadata = checked_copy(node.metadata, f"node {node.node_id!r:.80}")
    try:
        written = json.dumps(node.model_dump(mode="json", exclude=_ELSEWHERE), ensure_ascii=False)
    except ValueError as error:
        raise RecordError(f"node {node.node_id!r:.80} cannot be written as JSON: {error}.") from error
    return Record.from_mapping(
        {
            "_id": node.node_id,
            "title": node.get_metadata_str(MetadataMode.EMBED),
            "text": node.get_content(MetadataMode.NONE),
            "metadata": metadata,
            REF_FIELD: node.ref_doc_id or node.node_id,
            NODE_FIELD: {"id": node.node_id, "class": node.class_name(), "json": written},
        }
    )
