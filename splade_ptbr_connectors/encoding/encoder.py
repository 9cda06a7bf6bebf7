"""SpladeEncoder: Portuguese text in, SparseVector out.

SPLADE-max (Formal et al., arXiv 2109.10086): w_j = max over tokens i of log(1 + ReLU(z_ij)), computed as
log1p(relu(max_i z_ij)), which is the same and needs no [batch, tokens, vocabulary] tensor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

import numpy as np

from ..batches import batched
from ..cores import cores
from ..errors import ConfigError, ModelFormatError, TextError
from ..turns import Turns
from ..validation import Positive, check
from ..vectors import SparseVector
from .concept_heads import Side
from .concepts import Concepts
from .config import EncoderConfig
from .expansion import QueryExpansion
from .explain import Explanation, explain
from .explain_words import WordExplanation, explain_words
from .export import write_exported_folder
from .folder import ModelFolder, find_model, find_tokenizer, shipped_models
from .forward import ForwardPasses, QueryTable, maximum
from .pickles import pickled, remember
from .protocol import Addition, Encoder
from .report import EncodingReport
from .runtime import DType, Runtime, RuntimeName, check_runtime, load_runtime
from .storage import Storage
from .tokens import OnLong, TextTokenizer, TokenizedText, load_tokenizer, padding_id, special_ids
from .words import Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LOOKAHEAD = 16  # batches that are read ahead, so that texts of like length share a batch
T = TypeVar("T")
_IN_TURN = Turns(max(2, cores()))  # single queries: a network releases the interpreter lock, and more of them would only share the cores
BUILT_IN = ("pooling", "pool_special_tokens")  # settings that an exported graph cannot change any more


class SpladeEncoder:
    """Encodes queries and documents with one model. Build it with `SpladeEncoder.load`.

    Attributes:
        name: what the model was loaded as.
        config: its settings.
        fingerprint: identity of the vectors it gives; see fingerprint.py.
        load_arguments: what `load` takes to get an encoder with this fingerprint again; JSON values.

    A copy of an encoder is the same one. A pickle holds how it was loaded, no weights: unpickling loads it again (pickles.py).
    """

    def __init__(
        self, folder: ModelFolder, tokenizer_json: str, load_network: Callable[[ModelFolder], Runtime], *, batch_size: int, on_long: OnLong
    ) -> None:
        from tokenizers import Tokenizer

        check("batch_size", batch_size, Positive)
        self.name = folder.name
        self.config = folder.config
        self.batch_size = batch_size
        self._folder = folder
        self._tokenizer_json = tokenizer_json
        self._rule = self.config.text_rule
        self._vocabulary = Tokenizer.from_str(tokenizer_json)
        dropped = np.asarray(special_ids(self._vocabulary) if self.config.drop_special_tokens else [], np.int64)
        self._forward = ForwardPasses(self.config, pad_id=padding_id(self._vocabulary), dropped=dropped)
        self._tokenizers = {side: self._tokenizer(side, on_long) for side in get_args(Side)}
        self._without_network = _without_network(folder, self._vocabulary)
        concepts = self.config.concepts
        self._concepts = Concepts.read(folder, concepts, lambda: self.runtime, on_long) if concepts else None
        self.fingerprint = folder.fingerprint(tokenizer_json, on_long=on_long)
        self.load_arguments: dict[str, Any] = {"model": _absolute(folder.name), "on_long": on_long}
        self._how: dict[str, Any] = {}  # it was loaded: what load() takes beside, and the fingerprint does not hold
        self._load_network = load_network
        self._networks: dict[Side, Runtime] = {}
        self._lock = threading.Lock()
        self._report = EncodingReport()

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        *,
        runtime: RuntimeName = "auto",
        device: str | None = None,
        dtype: DType = "float32",
        tokenizer: str | Path | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        batch_size: int = 32,
        on_long: OnLong = "windows",
        preload: bool = True,
        **settings: Any,
    ) -> SpladeEncoder:
        """Load a model by shipped name ("mini"), folder, or hub id ("AxelPCG/splade-pt-br").

        Args:
            runtime: "onnx" (an exported graph), "torch" (any masked language model or T5 encoder), "auto": the graph if there is one.
            device: "cpu", "cuda", ...
            dtype: "float32", "bfloat16" or "float16" (torch only).
            tokenizer: another folder or hub id to take the tokenizer from, when the model's has none.
            revision, local_files_only: for hub ids.
            batch_size: texts in a forward pass (windows, of long ones), up to 256 tokens each; of longer ones fewer. On a CPU
                a graph runs them in pieces of about 1,024 tokens, one on each core.
            on_long: texts longer than the model's limit: "windows" (overlapping, maximum over them), "truncate" or "error".
            preload: False leaves the network unloaded until the first text: enough to load ready vectors and to open stores.
            settings: any field of EncoderConfig that changes vectors, e.g. max_length_document=384, pooling="sum",
                max_active_terms_document=200, min_weight_document=0.05. They are part of the fingerprint.

        Raises:
            ModelNotFoundError, ModelFormatError: no such model, or not a usable one.
            MissingExtraError: the model needs torch, and it is not installed.
            ConfigError: a setting that is not known or not possible.
        """
        folder = find_model(model, revision=revision, local_files_only=local_files_only)
        saved, folder = folder.config, replace(folder, config=_with_settings(folder.config, settings))
        changed = any(getattr(saved, name) != getattr(folder.config, name) for name in BUILT_IN)
        folder.check_lengths()
        check_runtime(folder, runtime, device, dtype)
        tokenizer_folder = _tokenizer_folder(tokenizer, local_files_only) if tokenizer else folder.path
        vocabulary = load_tokenizer(tokenizer_folder, folder.config.vocab_size)
        unpooled = () if folder.config.pool_special_tokens else special_ids(vocabulary)

        def load_network(of: ModelFolder) -> Runtime:
            return load_runtime(of, runtime, device, dtype, unpooled_ids=unpooled, graph=not changed)

        encoder = cls(folder, vocabulary.to_str(), load_network, batch_size=batch_size, on_long=on_long)
        given = {"tokenizer": tokenizer and _absolute(tokenizer), "revision": revision}
        encoder.load_arguments |= settings | {name: value for name, value in given.items() if value}
        encoder._how = {
            "runtime": runtime,
            "device": device,
            "dtype": dtype,
            "batch_size": batch_size,
            "local_files_only": local_files_only,
        }
        remember(encoder, encoder._how)
        if preload:
            _ = encoder.runtime, encoder.query_runtime  # a broken network shows now, not at the first text
        return encoder

    # -- encoding --------------------------------------------------------------------------------------------------

    @_IN_TURN
    def encode_query(self, text: str) -> SparseVector:
        """Encode one query."""
        return self._encode_one(text, "query")

    def encode_document(self, text: str) -> SparseVector:
        """Encode one document."""
        return self._encode_one(text, "document")

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """Encode a stream of queries: one vector per text, in order, reading at most 16 batches ahead.

        Raises:
            TextError: not a string, lone surrogates, NUL, over a million characters; or too long with on_long="error".
        """
        return self._encode(texts, "query")

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """Encode a stream of documents; see encode_queries."""
        return self._encode(texts, "document")

    # -- looking inside --------------------------------------------------------------------------------------------

    def explain(self, query: str | SparseVector, document: str | SparseVector) -> Explanation:
        """Which terms made this document match this query, and how much each adds to the score."""
        query_vector = query if isinstance(query, SparseVector) else self.encode_query(query)
        document_vector = document if isinstance(document, SparseVector) else self.encode_document(document)
        return explain(query_vector, document_vector, self.token)

    def decode(self, vector: SparseVector, top_k: int | None = None) -> list[tuple[str, float]]:
        """The vector's tokens with their weights, heaviest first."""
        vector.check_vocabulary(self.vocab_size)
        order = np.argsort(-vector.weights, kind="stable")[:top_k]
        return [(self.token(int(vector.term_ids[i])), float(vector.weights[i])) for i in order]

    def token(self, term_id: int) -> str:
        """The vocabulary's token of this id; pieces inside words begin with ##."""
        return self._vocabulary.id_to_token(term_id) or f"<{term_id}>"

    def explain_words(self, query: str, text: str, title: str = "", *, start: int = 0) -> WordExplanation:
        """Which words of a document made it match this query, and how much each adds to the score.

        Args:
            text: of the document, or of a passage of it, which begins at its character `start`.
            title: stands in front of the text, as in a store.
        """
        content = f"{title} {text}" if title else text
        query_vector, document_vector = self.encode_query(query), self.encode_document(content)
        return explain_words(query_vector, document_vector, self, query=query, title=title, text=text, start=start)

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        """(term id, start, end) of every token of a text that has a term, in characters of the text as it was given. Raises TextError.

        A token of two terms, a word in a form that is a term too, is there twice.
        """
        places, words = self._rule.places(text), self._without_network.get("document")
        found = self._tokenizers["document"].pieces(self._rule.apply(text))
        if isinstance(words, Words):
            found = words.pieces(found)
        return [(term, places[start][0], places[end - 1][1]) for term, start, end in found if start < end and term >= 0]

    def added_by(self, term_id: int) -> Addition:
        """What gives this term to a query without a word that has it: the thesaurus, the concepts, or the network of other models."""
        if term_id >= self.config.word_terms:
            return "concepts"
        return "thesaurus" if self.config.query.kind == "expansion" else "network"

    @property
    def document_room(self) -> int:
        """Tokens of a document that one window takes, beside special ones and the prompt."""
        return self._cuts_documents.room

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many of these tokens each of these documents has, whatever the windows. Needs no network. Raises TextError."""
        return self._cuts_documents.count([self._rule.apply(text, f"text {n}") for n, text in enumerate(texts)])

    def export_onnx(self, out: str | Path, *, storage: Storage = "float32") -> Path:
        """Write a new model folder that runs without torch; returns it. Needs the torch runtime and the extra [export].

        The graph does the pooling and equals this model within 1e-4; it keeps this model's fingerprint. With `storage`
        "float16" or "int8" the weights are rounded (in this object too): a smaller and slightly different model, with a
        fingerprint of its own. "int8-dynamic" computes products in int8 as well: faster on a CPU, and again a model of its
        own; `python -m benchmarks encode` shows what that gives and costs.
        """
        return write_exported_folder(self._folder, self._tokenizer_json, self.runtime, self.query_runtime, out, storage)

    @property
    def vocab_size(self) -> int:
        """Number of terms; every term id is smaller."""
        return self.config.vocab_size

    @property
    def report(self) -> EncodingReport:
        """Counts since the encoder was loaded."""
        return self._report

    @property
    def runtime(self) -> Runtime:
        """What runs the network of the documents."""
        return self._runtime("document", self._folder)

    @property
    def query_runtime(self) -> Runtime:
        """What runs the network of the queries: the documents', or one of their own; unused where they have a table."""
        return self._runtime("query", self._folder.query) if self._folder.query else self.runtime

    @property
    def _cuts_documents(self) -> TextTokenizer:
        """The tokenizer whose limit a document meets first."""
        words = self._tokenizers["document"]
        return min(words, self._concepts.documents, key=lambda each: each.room) if self._concepts else words

    def _tokenizer(self, side: Side, on_long: OnLong) -> TextTokenizer:
        length, prompt = getattr(self.config, f"max_length_{side}"), getattr(self.config, f"prompt_{side}")
        prompt = self._rule.apply(prompt, f"prompt_{side}")
        return TextTokenizer(self._vocabulary, length, on_long, prompt)

    def _runtime(self, side: Side, folder: ModelFolder) -> Runtime:
        with self._lock:
            if side not in self._networks:
                self._networks[side] = self._load_network(folder)
            return self._networks[side]

    def __copy__(self) -> SpladeEncoder:
        return self

    def __deepcopy__(self, memo: object) -> SpladeEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self._how)

    def __repr__(self) -> str:
        return f"SpladeEncoder({self.name!r}, runtime={self.runtime.name!r}, fingerprint={self.fingerprint[:12]})"

    # -- text -> windows -> batches (forward.py) -> vectors ------------------------------------------------------------

    def _encode(self, texts: Iterable[str], side: Side) -> Iterator[SparseVector]:
        if isinstance(texts, str | bytes):
            raise TextError(f"expected an iterable of texts, got one {type(texts).__name__}: use encode_{side}() for a single text.")
        return self._encode_stream(iter(texts), side)

    def _encode_one(self, text: str, side: Side) -> SparseVector:
        return self._encode_chunk([self._rule.apply(text, side)], side)[0]

    def _encode_stream(self, texts: Iterator[str], side: Side) -> Iterator[SparseVector]:
        done = 0
        for chunk in batched(texts, self.batch_size * LOOKAHEAD):
            normalized = [self._rule.apply(text, f"{side} {done + n}") for n, text in enumerate(chunk)]
            yield from self._encode_chunk(normalized, side)
            done += len(chunk)

    def _encode_chunk(self, texts: list[str], side: Side) -> list[SparseVector]:
        tokenized = self._tokenizers[side].tokenize(texts)
        if side in self._without_network:
            found = self._without_network[side].vectors(tokenized)
        else:
            found = self._forward.vectors(tokenized, self.query_runtime if side == "query" else self.runtime, self.batch_size)
        joined = [maximum(windows) for windows in found]
        if self._concepts:
            tokenized = self._concepts.tokenize(texts, side)
            about = self._concepts.vectors(tokenized, side, self.batch_size)
            joined = [_beside(words, concepts) for words, concepts in zip(joined, about, strict=True)]
        limit, least = self._pruning(side)
        vectors = [vector.prune(max_terms=limit, min_weight=least) for vector in joined]
        with self._lock:
            self._report = self._report.after(tokenized, vectors)
        return vectors

    def _pruning(self, side: Side) -> tuple[int | None, float]:
        if side == "query":
            return self.config.max_active_terms_query, self.config.min_weight_query
        return self.config.max_active_terms_document, self.config.min_weight_document


def as_encoder(encoder: Encoder | str | Path) -> Encoder:
    """An encoder as it is, or the one that SpladeEncoder.load() gives for a name or folder. Raises ConfigError for anything else."""
    if isinstance(encoder, str | Path):
        return SpladeEncoder.load(encoder)
    if not callable(getattr(encoder, "encode_documents", None)):
        raise ConfigError(f"encoder is {encoder!r:.80}: it must be an encoder, or the name or folder of a model, such as 'mini'.")
    return encoder


def _beside(words: SparseVector, concepts: SparseVector) -> SparseVector:
    """One vector of two whose terms are not the same."""
    return SparseVector(np.concatenate([words.term_ids, concepts.term_ids]), np.concatenate([words.weights, concepts.weights]))


class _WithoutNetwork(Protocol):
    def vectors(self, texts: list[TokenizedText]) -> list[list[SparseVector]]: ...


def _without_network(folder: ModelFolder, vocabulary: Tokenizer) -> dict[Side, _WithoutNetwork]:
    """What encodes the sides that need no network."""
    words = Words.read(folder, folder.config.words, vocabulary) if folder.config.words else None
    sides: dict[Side, _WithoutNetwork] = {"document": words} if words else {}
    if folder.config.query.kind == "table":
        sides["query"] = QueryTable.read(folder, vocabulary, words)
    elif folder.config.query.kind == "expansion" and words:
        sides["query"] = QueryExpansion.read(folder, words)
    return sides


def _with_settings(config: EncoderConfig, settings: dict[str, Any]) -> EncoderConfig:
    fixed = {"format_version", "vocab_size", "lexical", "words", "concepts", "onnx", "query"} & settings.keys()
    if fixed:
        raise ConfigError(f"{', '.join(sorted(fixed))} belongs to the checkpoint and cannot be set when loading it.")
    if not settings:
        return config
    try:
        return EncoderConfig.checked(config.model_dump() | settings, "SpladeEncoder.load")
    except ModelFormatError as error:
        raise ConfigError(str(error)) from error


def _absolute(model: str | Path) -> str:
    """The name of a model; a path is made absolute, so that it means the same from another directory."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.is_dir() and str(model) not in shipped_models() else str(model)


def _tokenizer_folder(tokenizer: str | Path, local_files_only: bool) -> Path:
    path = Path(tokenizer).expanduser()
    return path if path.is_dir() else find_tokenizer(str(tokenizer), local_files_only=local_files_only)
