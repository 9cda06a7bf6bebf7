"""What a text is about, as terms of its own: a small sentence encoder, and many directions of which the nearest are the text's concepts.

z = ReLU(W (e - m) / |e - m| + b), of which the largest are kept. e [H] is the mean of the network's features over the text and W [C, H]
the directions; m and b are those of queries or of documents, which sentence encoders put into different corners of their space. Texts
begin with a prompt that says on which side they are (E5, arXiv 2212.03533).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..vectors import SparseVector
from .config import ConceptSettings
from .folder import CONCEPTS_FOLDER, HEAD_FILE, ModelFolder
from .forward import ForwardPasses, maximum
from .runtime import Integers, Runtime
from .tensors import read_tensors, unit_vectors
from .tokens import OnLong, TextTokenizer, TokenizedText, load_tokenizer, padding_id

Side = Literal["query", "document"]
Floats = NDArray[np.float32]
_UNKNOWN = "\ue000"  # of the private use area: no vocabulary knows it


@dataclass(frozen=True)
class Head:
    """From the embeddings of one side's texts to their concepts.

    Attributes:
        directions: [C, H], those of the side: of queries they are turned by a matrix.
        centre: [H] mean of the side's embeddings, which are unit vectors.
        bias: [C].
        scale: of the weights; 1 for documents.
        top: concepts of a text at most.
    """

    directions: Floats
    centre: Floats
    bias: Floats
    scale: float
    top: int

    def activations(self, embeddings: Floats) -> Floats:
        """[B, H] embeddings of any length to [B, C] weights, most of them 0."""
        centred = unit_vectors(unit_vectors(embeddings) - self.centre)
        found = np.maximum(centred @ self.directions.T + self.bias, 0)
        if self.top < found.shape[1]:
            least = np.partition(found, -self.top, axis=1)[:, -self.top, None]
            found[found < least] = 0
        return np.asarray(self.scale * found, np.float32)


class Concepts:
    """The concepts of queries and documents, as terms behind those of words.

    Args:
        network: what runs the sentence encoder, [B, L] tokens to [B, H] embeddings; asked for at the first text.
        first_term: id of the first concept.
        unknown: tokens that say nothing, which texts of them alone have no concepts by.
    """

    def __init__(
        self,
        tokenizers: dict[Side, TextTokenizer],
        heads: dict[Side, Head],
        network: Callable[[], Runtime],
        passes: ForwardPasses,
        first_term: int,
        unknown: frozenset[int],
    ) -> None:
        self._tokenizers, self._heads, self._network = tokenizers, heads, network
        self._passes, self._first_term, self._unknown = passes, first_term, unknown
        self._prompts = {side: self._known(tokenizer.bare) for side, tokenizer in tokenizers.items()}

    @classmethod
    def read(cls, folder: ModelFolder, settings: ConceptSettings, network: Callable[[], Runtime], on_long: OnLong) -> Concepts:
        """Read the subfolder of a model. Raises ModelFormatError."""
        path = folder.path / CONCEPTS_FOLDER
        vocabulary = load_tokenizer(path, settings.pieces)
        prompts: dict[Side, str] = {"query": settings.prompt_query, "document": settings.prompt_document}
        passes = ForwardPasses(folder.config, pad_id=padding_id(vocabulary), dropped=np.zeros(0, np.int64))
        tokenizers = {side: TextTokenizer(vocabulary, settings.max_length, on_long, prompts[side]) for side in prompts}
        unknown = frozenset(vocabulary.encode(_UNKNOWN, add_special_tokens=False).ids)
        return cls(tokenizers, _read_heads(path / HEAD_FILE, settings), network, passes, folder.config.word_terms, unknown)

    @property
    def documents(self) -> TextTokenizer:
        """Cuts documents into windows that the network takes."""
        return self._tokenizers["document"]

    def tokenize(self, texts: list[str], side: Side) -> list[TokenizedText]:
        """As the network is given them, without windows that hold no known token. Raises TextError, ModelFormatError; see TextTokenizer."""
        prompt, tokenized = self._prompts[side], self._tokenizers[side].tokenize(texts)
        return [replace(text, windows=[ids for ids in text.windows if self._known(ids) != prompt]) for text in tokenized]

    def _known(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token not in self._unknown]

    def vectors(self, texts: list[TokenizedText], side: Side, batch_size: int) -> list[SparseVector]:
        """The concepts of each text; of one of several windows the nearest of all of them."""
        head = self._heads[side]
        found = self._passes.vectors(texts, _Headed(self._network(), head), batch_size)
        joined = [maximum(windows).prune(max_terms=head.top) for windows in found]
        return [SparseVector(vector.term_ids + np.uint32(self._first_term), vector.weights) for vector in joined]


class _Headed:
    """The sentence encoder and a head as one network."""

    def __init__(self, network: Runtime, head: Head) -> None:
        self.name, self._network, self._head = network.name, network, head

    def activations(self, input_ids: Integers, attention_mask: Integers) -> Floats:
        return self._head.activations(self._network.activations(input_ids, attention_mask))


def _read_heads(path: Path, settings: ConceptSettings) -> dict[Side, Head]:
    tensors = read_tensors(path)
    size, width = settings.size, settings.dimensions
    expected = {"directions": (size, width), "directions.scale": (size,), "query.matrix": (width, width)}
    for side in ("query", "document"):
        expected |= {f"{side}.centre": (width,), f"{side}.bias": (size,)}
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name].astype(np.float32)).all():
            raise ModelFormatError(f"{path} must hold a finite tensor {name!r} of shape {list(shape)}: download or make the model again.")
    directions = tensors["directions"].astype(np.float32) * tensors["directions.scale"].astype(np.float32)[:, None]
    of_queries = np.asarray(directions @ tensors["query.matrix"].astype(np.float32).T, np.float32)
    return {
        "query": _head(tensors, "query", of_queries, settings.scale_query, settings.top_query),
        "document": _head(tensors, "document", directions, 1.0, settings.top_document),
    }


def _head(tensors: dict[str, NDArray[Any]], side: Side, directions: Floats, scale: float, top: int) -> Head:
    centre, bias = (tensors[f"{side}.{name}"].astype(np.float32) for name in ("centre", "bias"))
    return Head(directions, centre, bias, scale, top)
