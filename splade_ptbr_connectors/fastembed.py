"""An encoder behind the methods of fastembed's SparseTextEmbedding, for code that was written for it; fastembed itself is not needed.

>>> model = SparseTextEmbedding("mini")  # doctest: +SKIP
>>> [document] = model.embed(["O prazo para recorrer é de 30 dias."])  # doctest: +SKIP
>>> document.as_object()  # doctest: +SKIP
{'values': array([...]), 'indices': array([...])}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoding.encoder import as_encoder
from .encoding.protocol import Encoder
from .errors import ConfigError
from .vectors import SparseVector


@dataclass(frozen=True, eq=False)
class SparseEmbedding:
    """Weights and their term ids.

    Attributes:
        values: [K] float32, > 0.
        indices: [K] int32, ascending.
    """

    values: NDArray[np.float32]
    indices: NDArray[np.int32]

    @classmethod
    def from_vector(cls, vector: SparseVector) -> SparseEmbedding:
        """Of one vector."""
        return cls(vector.weights, vector.term_ids.astype(np.int32))

    @classmethod
    def from_dict(cls, data: dict[int, float]) -> SparseEmbedding:
        """Out of {index: value}. Raises VectorError."""
        return cls.from_vector(SparseVector.from_dict(data)) if data else cls(np.empty(0, np.float32), np.empty(0, np.int32))

    def as_object(self) -> dict[str, NDArray[Any]]:
        """As qdrant-client takes it: models.SparseVector(**embedding.as_object())."""
        return {"values": self.values, "indices": self.indices}

    def as_dict(self) -> dict[int, float]:
        """As {index: value}."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


class SparseTextEmbedding:
    """embed(), passage_embed() and query_embed(), each an iterator of one SparseEmbedding per text, in order.

    Args:
        model_name: the name or folder of a model, as SpladeEncoder.load() takes it, or an encoder.
    """

    def __init__(self, model_name: Encoder | str | Path = "mini") -> None:
        self.encoder = as_encoder(model_name)
        self.model_name = self.encoder.name

    def embed(self, documents: str | Iterable[str], batch_size: int = 256, parallel: int | None = None) -> Iterator[SparseEmbedding]:
        """Documents. `batch_size` has no effect: batches are the encoder's, which uses all cores.

        Raises:
            ConfigError: `parallel`, which is not there.
            TextError: a text that cannot be encoded.
        """
        if parallel is not None:
            raise ConfigError(f"parallel is {parallel!r}: one process encodes on all cores already, leave it out.")
        return map(SparseEmbedding.from_vector, self.encoder.encode_documents(_texts(documents)))

    passage_embed = embed

    def query_embed(self, query: str | Iterable[str]) -> Iterator[SparseEmbedding]:
        """Queries, which may be weighed otherwise than documents. Raises TextError."""
        return map(SparseEmbedding.from_vector, self.encoder.encode_queries(_texts(query)))

    def __repr__(self) -> str:
        return f"SparseTextEmbedding({self.model_name!r})"


def _texts(given: str | Iterable[str]) -> Iterable[str]:
    return [given] if isinstance(given, str) else given
