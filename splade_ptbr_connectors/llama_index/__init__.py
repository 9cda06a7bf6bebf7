"""LlamaIndex over any store of this package: a retriever, a vector store, dense embeddings for hybrid search, and sparse ones.

>>> from splade_ptbr_connectors import open_store  # doctest: +SKIP
>>> store = open_store("edge:meus-documentos", encoder="mini")  # doctest: +SKIP
>>> SpladeRetriever(store=store, similarity_top_k=10).retrieve("prazo para recorrer da multa")  # doctest: +SKIP
"""

from ..extras import require

require("llama_index.core", "splade_ptbr_connectors.llama_index")  # before anything below imports it: the error names the extra

from .dense_embedding import E5Embedding  # noqa: E402
from .filters import translate_filters  # noqa: E402
from .retriever import SpladeRetriever  # noqa: E402
from .sparse_embedding import SpladeSparseEmbedding, sparse_doc_fn, sparse_query_fn  # noqa: E402
from .vector_store import SpladeVectorStore  # noqa: E402

__all__ = [
    "E5Embedding",
    "SpladeRetriever",
    "SpladeSparseEmbedding",
    "SpladeVectorStore",
    "sparse_doc_fn",
    "sparse_query_fn",
    "translate_filters",
]
