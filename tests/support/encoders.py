"""HashingEncoder: a bag of hashed words. Deterministic, without a model, a network or a heavy import."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from splade_ptbr_connectors.errors import TextError
from splade_ptbr_connectors.text import check_text
from splade_ptbr_connectors.vectors import SparseVector


class HashingEncoder:
    """Encodes a text as {hash(word): 1 + 0.25 * (count - 1)}; implements encoding.protocol.Encoder.

    Args:
        name: goes into the fingerprint, so another name is another model.
        vocab_size: number of hash buckets.
        window: texts read ahead of the vectors given out, as a real encoder does to sort by length.
        max_words: longer texts raise TextError, as a real encoder does with on_long="error".
        delay_s: seconds slept per text, to make an ingest slow enough to be killed.

    Attributes:
        texts_encoded: documents and queries encoded so far.
        most_in_flight: largest number of texts taken from a stream but not yet given out.
    """

    def __init__(
        self, name: str = "hashing", *, vocab_size: int = 4096, window: int = 64, max_words: int | None = None, delay_s: float = 0.0
    ) -> None:
        self.name = name
        self.vocab_size = vocab_size
        self.window = window
        self.max_words = max_words
        self.delay_s = delay_s
        self.texts_encoded = 0
        self.calls: Counter[str] = Counter()
        self.most_in_flight = 0

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.name} {self.vocab_size}".encode()).hexdigest()

    @property
    def load_arguments(self) -> dict[str, str]:
        return {"model": self.name}

    def token(self, term_id: int) -> str:
        return f"<{term_id}>"

    def encode_query(self, text: str) -> SparseVector:
        self.calls["encode_query"] += 1
        return self._encode(text)

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        self.calls["encode_queries"] += 1
        return self._stream(texts)

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        self.calls["encode_documents"] += 1
        return self._stream(texts)

    def _stream(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        iterator = iter(texts)
        while batch := list(islice(iterator, self.window)):
            self.most_in_flight = max(self.most_in_flight, len(batch))
            yield from [self._encode(text) for text in batch]

    def _encode(self, text: str) -> SparseVector:
        words = check_text(text).lower().split()
        if self.max_words is not None and len(words) > self.max_words:
            raise TextError(f"text has {len(words)} words: at most {self.max_words} are accepted.")
        if self.delay_s:
            time.sleep(self.delay_s)
        self.texts_encoded += 1
        counts = Counter(zlib.crc32(word.encode()) % self.vocab_size for word in words)
        return SparseVector.from_dict({term: 1 + 0.25 * (count - 1) for term, count in counts.items()})
