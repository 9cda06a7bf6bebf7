"""Any model of this package as a SparseEncoder of sentence-transformers: encode_query(), encode_document(), decode(), sparsity() ...

>>> model = sparse_encoder("mini")  # doctest: +SKIP
>>> scores = model.similarity(model.encode_query(["recorrer de multa"]), model.encode_document(["O prazo é de 30 dias."]))  # doctest: +SKIP

The vectors are this package's, whatever kind of model it is, on_long, prompts and pruning included. A folder that sentence-transformers
cannot compute itself names SpladeModule in its modules.json: it is loaded by `SparseEncoder(folder, trust_remote_code=True)`, and refused
without these words, as is all code that is not sentence-transformers' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .encoding.encoder import SpladeEncoder, as_encoder
from .encoding.protocol import Encoder
from .errors import ConfigError, TextError
from .extras import require
from .vectors import SparseBatch

require("sentence_transformers", "splade_ptbr_connectors.sentence_transformers")  # before it is imported below: the error names the extra

import torch  # noqa: E402
from sentence_transformers import SparseEncoder  # noqa: E402
from sentence_transformers.base.modules import InputModule  # noqa: E402


def sparse_encoder(encoder: Encoder | str | Path = "mini", **arguments: Any) -> SparseEncoder:
    """A SparseEncoder that gives the vectors of an encoder; it cannot be trained or saved.

    Args:
        encoder: an encoder, or what SpladeEncoder.load() takes.
        arguments: of SparseEncoder; `device` says where the vectors end up, the encoder itself stays where it was loaded.
    """
    return SparseEncoder(modules=[SpladeModule(as_encoder(encoder))], **({"similarity_fn_name": "dot"} | arguments))


class SpladeModule(InputModule):
    """The only module of such a SparseEncoder: texts in, vectors out."""

    forward_kwargs = {"task"}  # noqa: RUF012 - as the base class has it
    max_seq_length = None  # none is cut: a long text is taken as the encoder takes it

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.encoder = encoder
        self.tokenizer: Any = _Terms(encoder)
        self.register_buffer("_device", torch.empty(0), persistent=False)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, revision: str | None = None, local_files_only: bool = False, **_: Any
    ) -> SpladeModule:
        """As sentence-transformers loads a module; what else it hands over is about networks of transformers."""
        return cls(SpladeEncoder.load(model_name_or_path, revision=revision, local_files_only=local_files_only))

    def get_embedding_dimension(self) -> int:
        """Number of terms."""
        return self.encoder.vocab_size

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """{"texts": ...}: there is nothing to be done before forward(). Raises TextError for what is not text."""
        wrong = next((each for each in inputs if not isinstance(each, str)), None)
        if wrong is not None:
            raise TextError(f"an input is {wrong!r:.80}: it must be a text.")
        return {"texts": [(prompt or "") + text for text in inputs]}

    def forward(self, features: dict[str, Any], task: str | None = None, **_: Any) -> dict[str, Any]:
        """{"sentence_embedding": [N, vocabulary]}, of queries where the task is "query", else of documents. Raises TextError."""
        encode = self.encoder.encode_queries if task == "query" else self.encoder.encode_documents
        batch = SparseBatch.from_vectors(encode(features["texts"]))
        dense = torch.zeros(len(batch), self.encoder.vocab_size)
        rows = torch.repeat_interleave(torch.arange(len(batch)), torch.from_numpy(batch.indptr).diff())
        dense[rows, torch.from_numpy(batch.term_ids.astype("int64"))] = torch.from_numpy(batch.weights.copy())
        return features | {"sentence_embedding": dense.to(self._device.device)}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Raises ConfigError."""
        raise ConfigError(
            f"the model {self.encoder.name!r} is saved by copying its folder, not through sentence-transformers to {output_path!r}."
        )


class _Terms:
    """What SparseEncoder.decode() asks a tokenizer for."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.encoder.token(term) for term in ids]
