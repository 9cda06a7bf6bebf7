"""Haystack components: the sparse vectors of queries and documents, for stores of Haystack that search them, such as its Qdrant store.

>>> SpladeTextEmbedder("mini").run("prazo para recorrer de multa")  # doctest: +SKIP
{'sparse_embedding': SparseEmbedding(indices=[...], values=[...])}
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .encoding.encoder import SpladeEncoder, as_encoder
from .encoding.protocol import Encoder
from .errors import ConfigError
from .extras import require
from .vectors import SparseVector

require("haystack", "splade_ptbr_connectors.haystack")  # before it is imported below: the error names the extra

from haystack import Document, component, default_to_dict  # noqa: E402
from haystack.dataclasses import SparseEmbedding  # noqa: E402

Model = Encoder | str | Path | Mapping[str, Any]


@component
class SpladeTextEmbedder:
    """A query as a sparse embedding.

    Args:
        model: the name or folder of a model, what SpladeEncoder.load() takes by name, or an encoder. In a pipeline that is written to YAML
            it stands as the second: how to load it again.
    """

    def __init__(self, model: Model = "mini") -> None:
        self.encoder = _encoder(model)

    def to_dict(self) -> dict[str, Any]:
        """As Haystack writes a component down."""
        return dict(default_to_dict(self, model=dict(self.encoder.load_arguments)))

    @component.output_types(sparse_embedding=SparseEmbedding)
    def run(self, text: str) -> dict[str, Any]:
        """{"sparse_embedding": SparseEmbedding}. Raises TextError."""
        return {"sparse_embedding": _embedding(self.encoder.encode_query(text))}

    @component.output_types(sparse_embedding=SparseEmbedding)
    async def run_async(self, text: str) -> dict[str, Any]:
        """run() without blocking the event loop."""
        return await asyncio.to_thread(self.run, text)


@component
class SpladeDocumentEmbedder:
    """Documents with their sparse embeddings, for an indexing pipeline.

    Args:
        model: see SpladeTextEmbedder.
        meta_fields_to_embed: names of `meta` that are encoded in front of the content, such as ["title"].
        embedding_separator: stands between them.
    """

    def __init__(self, model: Model = "mini", meta_fields_to_embed: Sequence[str] = (), embedding_separator: str = "\n") -> None:
        self.encoder = _encoder(model)
        self.meta_fields_to_embed = list(meta_fields_to_embed)
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """As Haystack writes a component down."""
        settings = {"meta_fields_to_embed": self.meta_fields_to_embed, "embedding_separator": self.embedding_separator}
        return dict(default_to_dict(self, model=dict(self.encoder.load_arguments), **settings))

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """{"documents": copies of the documents, each with its `sparse_embedding`}. Raises ConfigError, TextError."""
        if not isinstance(documents, list):
            raise ConfigError(f"documents is {documents!r:.80}: it must be a list of Haystack documents; SpladeTextEmbedder takes a text.")
        vectors = list(self.encoder.encode_documents([self._text(document) for document in documents]))
        embedded = [replace(document, sparse_embedding=_embedding(vector)) for document, vector in zip(documents, vectors, strict=True)]
        return {"documents": embedded}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """run() without blocking the event loop."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        if not isinstance(document, Document) or document.content is None:
            raise ConfigError(f"the document {getattr(document, 'id', document)!r:.80} has no text in its content: leave it out.")
        fields = [str(document.meta[name]) for name in self.meta_fields_to_embed if document.meta.get(name)]
        return self.embedding_separator.join([*fields, document.content])


def _encoder(model: Model) -> Encoder:
    return SpladeEncoder.load(**model) if isinstance(model, Mapping) else as_encoder(model)


def _embedding(vector: SparseVector) -> SparseEmbedding:
    return SparseEmbedding(indices=vector.term_ids.tolist(), values=vector.weights.tolist())
