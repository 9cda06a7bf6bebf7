"""What a store keeps beside the postings: read back by rows, in any order, as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import StoreCorruptError
from splade_ptbr_connectors.stores.numba.documents import Document, Documents, key_hashes, payload_text

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
payloads = st.dictionaries(texts, st.none() | st.booleans() | st.integers(-9, 9) | texts | st.lists(st.integers(), max_size=3), max_size=4)
documents = st.lists(st.tuples(st.none() | texts, texts, payloads, st.none() | texts), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents, st.data())
def test_rows_are_read_as_they_were_written(tmp_path: Path, given_documents: list[tuple[Any, ...]], data: st.DataObject) -> None:
    written = [Document((tenant, doc_id), payload_text(payload), mark) for tenant, doc_id, payload, mark in given_documents]
    Documents.write(tmp_path / "documents", written)
    held = Documents.read(tmp_path / "documents")
    rows = data.draw(st.lists(st.integers(0, len(written) - 1), max_size=20))
    assert held.heads(rows) == [(written[row].key, written[row].content_hash) for row in rows]
    assert held.payloads(rows) == [json.loads(written[row].payload) for row in rows]
    assert [held.document(row) for row in range(len(held))] == written
    keys = [document.key for document in written]
    assert all(row in held.find([key], key_hashes([key]))[key] for row, key in enumerate(keys))


@pytest.mark.parametrize("payload", ["1,2", "1],[2", "", "{", "[1"])
@pytest.mark.parametrize("beside", [[], ["{}"], ["2]"]])
def test_a_payload_that_is_not_one_value_is_damage(tmp_path: Path, payload: str, beside: list[str]) -> None:
    written = [Document((None, str(n)), text, None) for n, text in enumerate([payload, *beside])]
    Documents.write(tmp_path / "documents", written)
    with pytest.raises(StoreCorruptError, match="damaged"):
        Documents.read(tmp_path / "documents").payloads(range(len(written)))
