"""Twelve small Portuguese documents in a MemoryStore: the collection of every retriever test."""

from __future__ import annotations

import pytest

from splade_ptbr_connectors.records import Record
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

SUBJECTS = ("saúde", "culinária", "direito")
TEXTS = (
    "vacina contra a gripe",
    "vacina e prazo da vacina",
    "receita de bolo",
    "bolo com café",
    "prazo para recorrer da multa",
    "multa de trânsito e prazo",
    "o café da manhã",
    "gripe e febre",
    "recorrer da multa",
    "bolo de fubá",
    "prazo de validade da vacina",
    "febre alta",
)
QUERIES = ("vacina", "prazo da multa", "bolo e café", "febre vacina prazo", "palavra-desconhecida", "")


@pytest.fixture
def store() -> MemoryStore:
    return make_store()


def make_store(together: int = 1) -> MemoryStore:
    store = MemoryStore(HashingEncoder(), together=together)
    records = [
        Record(f"doc-{n}", f"Título {n}", text, {"metadata": {"subject": SUBJECTS[n % 3], "year": 2000 + n}, "url": f"u{n}"})
        for n, text in enumerate(TEXTS)
    ]
    store.upsert_vectors((record.doc_id, store.encoder.encode_query(record.content), record.payload) for record in records)
    return store
