"""Long texts on their way into a store: split, encoded behind their titles, checked, resumed, rejected as one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError, IngestError, RecordError, StoreFormatError
from splade_ptbr_connectors.ingestion.dead_letter import DeadLetter
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.verify import verify
from splade_ptbr_connectors.stores import entries, open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.passages import passage_number, tail_point
from tests.support.encoders import HashingEncoder

SETTINGS = {"passage_tokens": 12, "overlap": 2}
WORDS = [f"palavra{n}" for n in range(90)]
LONG = {"_id": "lei", "title": "Lei", "text": ". ".join(" ".join(WORDS[n : n + 6]) for n in range(0, 90, 6)) + "."}
SHORT = {"_id": "nota", "title": "Nota", "text": "texto curto"}


@pytest.fixture(params=["edge", "numba"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"{request.param}:{tmp_path}/store", encoder=HashingEncoder(), passages=SETTINGS) as opened:
        yield opened


def test_long_texts_become_passages_that_are_found(store: Store) -> None:
    report = ingest([LONG, SHORT], store)
    assert (report.written, store.count()) == (2, 2)
    entry = store.get(["lei"])["lei"]
    assert len(entry.passages) > 3 and entry.payload["text"] == LONG["text"]
    encoder = HashingEncoder()
    for passage in entry.passages:
        text = LONG["text"][passage.start : passage.end]
        assert passage.vector == next(encoder.encode_documents([f"Lei {text}"]))
    hit = store.search("palavra70 palavra71", 1)[0]
    assert hit.doc_id == "lei" and "palavra70 palavra71" in hit.passage.text and hit.passage.number > 0
    assert LONG["text"][hit.passage.start : hit.passage.end] == hit.passage.text
    assert store.search("curto", 1)[0].passage.text == "texto curto"
    assert store.get(["nota"])["nota"].passages == ()


def test_unchanged_documents_are_not_encoded_again_and_verify_agrees(store: Store) -> None:
    ingest([LONG, SHORT], store)
    encoded = store.encoder.texts_encoded  # type: ignore[attr-defined]
    assert ingest([LONG, SHORT], store).unchanged == 2
    assert store.encoder.texts_encoded == encoded  # type: ignore[attr-defined]
    assert verify([LONG, SHORT], store).ok
    changed = verify([{**LONG, "text": "outro"}, SHORT], store)
    assert changed.changed.first == ["lei"] and changed.documents == 2


def test_a_document_that_lost_a_passage_fails_the_check_of_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = store._get

    def shortened(doc_ids: list[str]) -> dict[str, Any]:
        return {doc_id: entry._replace(passages=entry.passages[:-1]) for doc_id, entry in whole(doc_ids).items()}

    monkeypatch.setattr(store, "_get", shortened)
    with pytest.raises(IngestError, match="returns with other vectors"):
        ingest([LONG], store)


def test_a_passage_that_is_refused_rejects_its_whole_record(store: Store, tmp_path: Path) -> None:
    store.encoder.max_words = 8  # type: ignore[attr-defined]  # fewer than a passage has
    dead = tmp_path / "dead.jsonl"
    report = ingest([LONG, SHORT], store, dead_letter=dead)
    assert (report.written, report.rejected, store.count()) == (1, 1, 1)
    kept = json.loads(dead.read_text())
    assert kept["record"] == LONG
    store.encoder.max_words = None  # type: ignore[attr-defined]
    assert ingest([kept["record"]], store).written == 1


def test_a_document_of_too_many_passages_is_rejected_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_PASSAGES", 2)
    report = ingest([{"_id": "before", "text": "prazo"}, LONG, {"_id": "behind", "text": "prazo"}], store)
    assert (report.written, report.rejected, store.count()) == (2, 1, 2)
    assert "at most 2 are accepted: make passages longer" in report.rejections[0]["reason"]


@pytest.mark.parametrize(("number", "accepted"), [(65_536, True), (65_537, False)])
def test_a_document_has_as_many_passages_as_have_numbers(number: int, accepted: bool) -> None:
    with nullcontext() if accepted else pytest.raises(RecordError, match="65,537"):
        entries.check_number_of_passages("a", number)
    if accepted:
        assert passage_number(int(tail_point("a", "f" * 16, number - 1, None), 16)) == number - 1


def test_the_longest_text_is_kept_whole_when_it_is_rejected(store: Store, tmp_path: Path) -> None:
    store.encoder.max_words = 2  # type: ignore[attr-defined]
    record, dead = {"_id": "a", "title": "", "text": "😀ção à " * 142_857}, tmp_path / "dead.jsonl"
    assert ingest([record], store, dead_letter=dead).rejected == ingest([record], store).rejected == 1
    assert json.loads(dead.read_text())["record"] == record
    assert ingest([record], store).rejections[0]["record"] == record


def test_without_a_dead_letter_file_the_report_keeps_the_first_hundred(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    records = [{"_id": f"d{n}", "text": "  "} if n % 2 else {"_id": f"d{n}", "text": "texto"} for n in range(300)]
    with caplog.at_level(logging.WARNING):
        report = ingest(records, store)
    assert report.rejected == 150 and len(report.rejections) == 100
    assert report.rejections[0] == {"line": 2, "reason": report.rejections[0]["reason"], "record": records[1]}
    assert "neither title nor text" in str(report.rejections[0]["reason"])
    assert [message for message in caplog.messages if "150 records were not ingested" in message and "line 2" in message]
    assert report.to_dict()["rejections"] == report.rejections
    ingest([{"_id": "a"}], store)
    assert caplog.messages[-1].startswith("1 record was not ingested into ")


def test_a_warning_without_a_kept_record_is_still_sentences(caplog: pytest.LogCaptureFixture) -> None:
    DeadLetter(None).warn(2, "edge:./store")
    assert caplog.messages[0].startswith("2 records were not ingested into edge:./store. The report's")


def test_with_a_dead_letter_file_nothing_is_kept_twice(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = ingest([{"_id": "a"}], store, dead_letter=tmp_path / "dead.jsonl")
    assert report.rejected == 1 and report.rejections == () and not caplog.messages


def test_neighbours_of_a_passage(store: Store) -> None:
    ingest([LONG, SHORT], store)
    hit = store.search("palavra70 palavra71", 1)[0]
    number, every = hit.passage.number, hit.passages()
    assert hit.passages(1) == every[number - 1 : number + 2] and hit.passages(0) == [hit.passage] and hit.passages(10**9) == every
    bare = store.search("palavra70 palavra71", 1, with_payload=False)[0]
    assert bare.passages() == bare.passages(1) == [bare.passage] and bare.passage.number == number
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(ConfigError, match="around"):
            hit.passages(wrong)  # type: ignore[arg-type]


def test_ready_passages_are_stored_as_they_are(store: Store) -> None:
    ingest([LONG], store)
    entry = store.get(["lei"])["lei"]
    spans = [{"start": each.start, "end": each.end, "vector": each.vector.to_opensearch()} for each in entry.passages]
    record = {"_id": "cópia", "title": "Lei", "text": LONG["text"], "passages": spans}
    assert ingest([record, entry._replace(doc_id="entry")], store).written == 2
    for doc_id in ("cópia", "entry"):
        assert store.get([doc_id])[doc_id].passages == entry.passages
    wrong = {**record, "passages": [*spans[:-1], {**spans[-1], "end": 10**6}]}
    report = ingest([{**wrong, "_id": "wrong"}], store)
    assert report.rejected == 1 and "0 <= start < end" in str(report.rejections[0]["reason"])


def test_a_field_named_passages_without_vectors_is_a_field(store: Store) -> None:
    ingest([{"_id": "a", "text": "texto", "passages": ["trecho"]}], store)
    assert store.get(["a"])["a"].payload["passages"] == ["trecho"]


def test_the_store_remembers_how_texts_are_split(store: Store) -> None:
    url = store.url
    store.close()
    with open_store(url, encoder=HashingEncoder()) as again:
        assert again.passage_settings is not None and again.passage_settings | SETTINGS == again.passage_settings
    with pytest.raises(StoreFormatError, match="passage_tokens"):
        open_store(url, encoder=HashingEncoder(), passages={"passage_tokens": 99})
    with pytest.raises(StoreFormatError, match="passages=False"):
        open_store(url, encoder=HashingEncoder(), passages=False)
    with pytest.raises(ConfigError, match="unknown setting of passages 'tokens'"):
        open_store(url, encoder=HashingEncoder(), passages={"tokens": 9})
    with pytest.raises(ConfigError, match="passages is 9"):
        open_store(url, encoder=HashingEncoder(), passages=9)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["edge", "numba"])
def test_a_store_of_whole_documents_keeps_them_whole(engine: str, tmp_path: Path) -> None:
    with open_store(f"{engine}:{tmp_path}/whole", encoder=HashingEncoder(), passages=False) as whole:
        ingest([LONG], whole)
        assert whole.get(["lei"])["lei"].passages == ()
        entry = whole.get(["lei"])["lei"]
        assert whole.search("palavra70", 1)[0].passage.text == LONG["text"]
    with open_store(f"{engine}:{tmp_path}/several", encoder=HashingEncoder(), passages=SETTINGS) as several:
        ingest([LONG], several)
        entry = several.get(["lei"])["lei"]
    with open_store(f"{engine}:{tmp_path}/whole", encoder=HashingEncoder()) as whole, pytest.raises(ConfigError, match="has several"):
        whole.upsert_vectors([entry])


def test_without_its_splitter_a_text_is_encoded_as_before(store: Store) -> None:
    """A short document costs what it did: one point, without a field of its own."""
    ingest([SHORT], store)
    [hit] = store.search("curto", 10)
    assert hit.payload == {"title": "Nota", "text": "texto curto"} and hit.place is None
    assert hit.score == store.encoder.encode_query("curto").dot(next(HashingEncoder().encode_documents(["Nota texto curto"])))


def test_ready_passages_are_refused_one_by_one_by_a_store_of_whole_documents(tmp_path: Path) -> None:
    vector = {"1": 1.0}
    spans = [{"start": 0, "end": 3, "vector": vector}, {"start": 3, "end": 6, "vector": vector}]
    with open_store(f"edge:{tmp_path}/whole", encoder=HashingEncoder(), passages=False) as whole:
        report = ingest([{"_id": "a", "text": "abcdef", "passages": spans}, SHORT], whole)
    assert (report.written, report.rejected) == (1, 1) and "keeps whole documents" in str(report.rejections[0]["reason"])
