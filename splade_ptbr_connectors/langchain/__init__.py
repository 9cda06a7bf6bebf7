"""LangChain over any store of this package: a retriever, a vector store, dense embeddings for hybrid search, sparse ones for Qdrant.

>>> from splade_ptbr_connectors import open_store  # doctest: +SKIP
>>> store = open_store("edge:meus-documentos", encoder="mini")  # doctest: +SKIP
>>> SpladeRetriever(store=store, k=4).invoke("prazo para recorrer da multa")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from ..extras import require

require("langchain_core", "splade_ptbr_connectors.langchain")  # before anything below imports it: the error names the extra

from .dense_embeddings import E5Embeddings  # noqa: E402
from .retriever import SpladeRetriever  # noqa: E402
from .vector_store import SpladeVectorStore  # noqa: E402

if TYPE_CHECKING:
    from .sparse_embeddings import SpladeSparseEmbeddings

__all__ = ["E5Embeddings", "SpladeRetriever", "SpladeSparseEmbeddings", "SpladeVectorStore"]


def __getattr__(name: str) -> Any:
    if name != "SpladeSparseEmbeddings":  # the only one that needs langchain-qdrant
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .sparse_embeddings import SpladeSparseEmbeddings

    return SpladeSparseEmbeddings
