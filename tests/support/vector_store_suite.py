"""langchain-tests' suite for vector stores, every test of it unchanged; each engine's test file gives it an empty store."""

from __future__ import annotations

from langchain_tests.integration_tests import VectorStoreIntegrationTests

from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder


class CommonTermEncoder(HashingEncoder):
    """Gives every text one more term of small weight, the same for all.

    The suite wants any document to be a hit for any query, which is so for dense vectors. A sparse search finds what shares a term.
    """

    def __init__(self) -> None:
        super().__init__("common-term", vocab_size=4097)

    def _encode(self, text: str) -> SparseVector:
        words = super()._encode(text)
        return SparseVector([*words.term_ids[words.term_ids < 4096], 4096], [*words.weights[words.term_ids < 4096], 0.125])


class VectorStoreSuite(VectorStoreIntegrationTests):
    """The suite; `vectorstore` is the fixture that a subclass gives."""
