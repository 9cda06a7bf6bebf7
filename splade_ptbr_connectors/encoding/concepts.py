"""What a text is about, as terms of its own: a small sentence encoder, and concepts that its embedding is spelled in (concept_heads.py).

An embedding [H] is the mean of the network's features over the text. Texts begin with a prompt that says on which side they are
(E5, arXiv 2212.03533).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..vectors import SparseVector
from .concept_heads import Floats, Head, Side, read_heads
from .config import ConceptSettings
from .folder import CONCEPTS_FOLDER, HEAD_FILE, ModelFolder
from .forward import ForwardPasses
from .runtime import Integers, Runtime
from .tokens import OnLong, TextTokenizer, TokenizedText, load_tokenizer, padding_id

_UNKNOWN = "\ue000"  # of the private use area: no vocabulary knows it


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
        return cls(tokenizers, read_heads(path / HEAD_FILE, settings), network, passes, folder.config.word_terms, unknown)

    @property
    def documents(self) -> TextTokenizer:
        """Cuts documents into windows that the network takes."""
        return self._tokenizers["document"]

    def tokenize(self, texts: list[str], side: Side) -> list[TokenizedText]:
        """As the network is given them, without windows that hold no known token. Raises TextError, ModelFormatError; see TextTokenizer."""
        prompt, tokenized = self._prompts[side], self._tokenizers[side].tokenize([text if _says(text) else "" for text in texts])
        return [replace(text, windows=[ids for ids in text.windows if self._known(ids) != prompt]) for text in tokenized]

    def _known(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token not in self._unknown]

    def vectors(self, texts: list[TokenizedText], side: Side, batch_size: int) -> list[SparseVector]:
        """The concepts of each text; of several windows their mean, so that a score is the mean of what the windows would score."""
        head = self._heads[side]
        found = self._passes.vectors(texts, _Headed(self._network(), head), batch_size)
        joined = [_mean(windows, text.windows).prune(max_terms=head.top) for windows, text in zip(found, texts, strict=True)]
        return [SparseVector(vector.term_ids + np.uint32(self._first_term), vector.weights) for vector in joined]


def _says(text: str) -> bool:
    """Whether it has a letter or a digit: punctuation alone is about nothing, and would be a bit like everything."""
    return any(map(str.isalnum, text))


class _Headed:
    """The sentence encoder and a head as one network."""

    def __init__(self, network: Runtime, head: Head) -> None:
        self.name, self._network, self._head = network.name, network, head

    def activations(self, input_ids: Integers, attention_mask: Integers) -> Floats:
        return self._head.activations(self._network.activations(input_ids, attention_mask))


def _mean(vectors: list[SparseVector], windows: list[list[int]]) -> SparseVector:
    """Of the windows of a text, each as heavy as it is long; of none, the empty vector."""
    if len(vectors) <= 1:
        return vectors[0] if vectors else SparseVector([], [])
    shares = np.array([len(window) for window in windows]) / sum(map(len, windows))
    terms, places = np.unique(np.concatenate([vector.term_ids for vector in vectors]), return_inverse=True)
    weights = np.concatenate([vector.weights * share for vector, share in zip(vectors, shares, strict=True)])
    return SparseVector(terms, np.bincount(places, weights, len(terms)).astype(np.float32))
