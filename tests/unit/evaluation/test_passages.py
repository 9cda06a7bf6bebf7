"""Documents are judged, and a document's score is that of its best passage."""

from __future__ import annotations

from pathlib import Path

from splade_ptbr_connectors.evaluation.evaluate import evaluate
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores import open_store
from tests.support.encoders import HashingEncoder


def test_a_run_holds_each_document_once_by_its_best_passage(tmp_path: Path) -> None:
    texts = {f"d{n}": " ".join(f"comum assunto{n} ponto{n}x{m}" for m in range(30)) for n in range(5)}
    with open_store(f"numba:{tmp_path}/store", encoder=HashingEncoder(), passages={"passage_tokens": 20, "overlap": 0}) as store:
        ingest([{"_id": doc_id, "text": text} for doc_id, text in texts.items()], store)
        found = evaluate(store, {"q": "comum ponto3x17"}, {"q": {"d3": 1}}, top_k=1000)
        mean = evaluate(store, {"q": "comum ponto3x17"}, {"q": {"d3": 1}}, best=2)
        expected = {hit.doc_id: hit.score for hit in store.search("comum ponto3x17", best=2)}
        best = max(store.get(["d3"])["d3"].vectors, key=store.encoder.encode_query("comum ponto3x17").dot)
    assert set(found.run["q"]) == set(texts) and found.missing == 0
    assert max(found.run["q"], key=lambda doc_id: found.run["q"][doc_id]) == "d3"
    assert mean.run["q"] == expected != found.run["q"]
    assert found.run["q"]["d3"] == HashingEncoder().encode_query("comum ponto3x17").dot(best)
