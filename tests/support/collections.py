"""Small made-up collections, and what a store holds of them."""

from __future__ import annotations

from typing import Any

from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder

WORDS = "imposto renda vacina café água rio mar lei prazo banco conta texto busca palavra termo ano dia casa cidade país".split()


def documents(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """`count` different documents with ids "d0", "d1" ..."""
    return [
        {
            "_id": f"d{n}",
            "title": f"Documento {n}",
            "text": " ".join(WORDS[(n * step) % len(WORDS)] for step in range(1, 4 + n % 9)),
            "metadata": {"year": 1990 + n % 30, "subject": WORDS[n % 5]},
        }
        for n in range(start, start + count)
    ]


def encoded(collection: list[dict[str, Any]], encoder: HashingEncoder | None = None) -> list[dict[str, Any]]:
    """The same documents, each with its own vector as `splade-ptbr encode` writes it."""
    encoder = encoder or HashingEncoder()
    records = [Record.from_mapping(raw) for raw in collection]
    return [{"_id": record.doc_id, **record.payload, "vector": encoder.encode_query(record.content).to_opensearch()} for record in records]


def assert_holds(store: Store, expected: list[dict[str, Any]]) -> None:
    """The store holds exactly these documents: ids, vectors, payloads and content hashes."""
    assert store.count() == len(expected)
    encoder = HashingEncoder(store.encoder.name, vocab_size=store.encoder.vocab_size)
    for start in range(0, len(expected), 500):
        records = [Record.from_mapping(raw) for raw in expected[start : start + 500]]
        stored = store.get([record.doc_id for record in records])
        for record in records:
            entry = stored[record.doc_id]
            assert entry.payload == record.payload
            assert entry.content_hash == record.content_hash
            assert entry.vector == encoder.encode_query(record.content)
