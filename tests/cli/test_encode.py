"""splade-ptbr encode."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

from .conftest import DOCUMENTS, Command, assert_fails, write_jsonl


def lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def vectors(content: list[dict[str, Any]]) -> dict[str, SparseVector]:
    return {line["_id"]: SparseVector.from_opensearch(line["vector"]) for line in content}


def expected(key: str = "content") -> dict[str, SparseVector]:
    texts = {one["_id"]: f"{one['title']} {one['text']}" for one in DOCUMENTS}
    return {doc_id: HashingEncoder().encode_query(text) for doc_id, text in texts.items()}


def test_each_record_becomes_a_line_with_its_vector_in_order(cli: Command, corpus: Path) -> None:
    document = cli("encode", corpus, "v.jsonl", "--json").json
    assert vectors(lines("v.jsonl")) == expected()
    assert [line["_id"] for line in lines("v.jsonl")] == ["1", "2", "3", "4"]
    assert (document["read"], document["written"], document["rejected"], document["kind"]) == (4, 4, 0, "document")
    assert document["mean_terms"] == pytest.approx(sum(map(len, expected().values())) / 4)


def test_stdout_stays_clean(cli: Command, corpus: Path) -> None:
    outcome = cli("encode", corpus, "-")
    assert vectors([json.loads(line) for line in outcome.out.splitlines()]) == expected()
    assert "4 of 4" in outcome.err
    assert_fails(cli("encode", corpus, "-", "--json"), 2, "stdout")


def test_queries_go_through_the_query_side(cli: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HashingEncoder, "encode_documents", None)
    assert cli("encode", corpus, "q.jsonl", "--kind", "query").code == 0
    assert vectors(lines("q.jsonl")) == expected()


def test_weights_are_written_short_and_read_back_exactly(cli: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third = SparseVector([1, 2], [1 / 3, 0.3])
    monkeypatch.setattr(HashingEncoder, "_encode", lambda self, text: third)
    cli("encode", corpus, "v.jsonl")
    assert lines("v.jsonl")[0]["vector"] == {"1": 0.33333334, "2": 0.3}
    assert set(vectors(lines("v.jsonl")).values()) == {third}


def test_tokens_instead_of_ids(cli: Command, corpus: Path) -> None:
    cli("encode", corpus, "t.jsonl", "--tokens")
    for line in lines("t.jsonl"):
        weights = list(line["tokens"].values())
        assert weights == sorted(weights, reverse=True) and weights
        assert all(token.startswith("t") for token in line["tokens"])  # the stand-in's names of its terms


def test_with_the_record_a_line_holds_all_that_ingest_needs(cli: Command, corpus: Path) -> None:
    cli("encode", corpus, "v.jsonl", "--with-record")
    content = lines("v.jsonl")
    assert vectors(content) == expected()
    assert {line["fingerprint"] for line in content} == {HashingEncoder("mini").fingerprint}
    assert [{name: line[name] for name in one} for line, one in zip(content, DOCUMENTS, strict=True)] == DOCUMENTS
    assert cli("ingest", "v.jsonl", "--store", "edge:loja", "--json").json["written"] == 4
    assert_fails(cli("ingest", "v.jsonl", "--store", "edge:outra", "--model", "outro"), 4, "made by the model")
    for other in (["--tokens"], ["--kind", "query"]):
        assert_fails(cli("encode", corpus, "x.jsonl", "--with-record", *other), 2, "--with-record")


def long_record(**fields: Any) -> str:
    return json.dumps({"_id": "lei", "text": " ".join(f"palavra{n}" for n in range(400)), **fields})


def test_terms_are_counted_by_vector_where_a_record_has_several(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "laws.jsonl").write_text(f"{long_record()}\n{json.dumps({'_id': 'a', 'text': 'gripe e febre'})}\n")
    document = cli("encode", "laws.jsonl", "split.jsonl", "--with-record", "--json").json
    sizes = [len(each["vector"]) for line in lines("split.jsonl") for each in line.get("passages", [line])]
    assert document["vectors"] == len(sizes) > document["written"] == 2
    assert document["mean_terms"] == pytest.approx(sum(sizes) / len(sizes))
    assert (
        f"2 of 2 document texts encoded to -, {len(sizes)} vectors of passages, " in cli("encode", "laws.jsonl", "-", "--with-record").err
    )
    assert "vectors" not in cli("encode", "laws.jsonl", "-").err


def test_vectors_of_an_encoding_before_are_left_out(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "laws.jsonl").write_text(f"{long_record()}\n")
    cli("encode", "laws.jsonl", "whole.jsonl", "--with-record", "--passages", "off")
    cli("encode", "whole.jsonl", "split.jsonl", "--with-record")
    cli("encode", "split.jsonl", "again.jsonl", "--with-record", "--passages", "off")
    whole, split, again = (json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in ("whole", "split", "again"))
    assert "vector" in whole and "vector" not in split and len(split["passages"]) > 1
    assert again == whole


def test_a_field_of_a_long_record_is_never_overwritten(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "laws.jsonl").write_text(
        f"{long_record(passages=['mine'])}\n{json.dumps({'_id': 'a', 'text': 'b', 'passages': ['mine']})}\n"
    )
    assert_fails(cli("encode", "laws.jsonl", "v.jsonl", "--with-record"), 3, 'has a field "passages"')
    cli("encode", "laws.jsonl", "v.jsonl", "--with-record", "--dead-letter", "dead.jsonl", "--allow-rejected")
    assert json.loads((tmp_path / "dead.jsonl").read_text())["record"] == {"title": "", **json.loads(long_record(passages=["mine"]))}
    assert json.loads((tmp_path / "v.jsonl").read_text())["passages"] == ["mine"]


def test_compressed_input(cli: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(corpus.read_bytes()))
    assert cli("encode", "c.jsonl.gz", "v.jsonl").code == 0
    assert vectors(lines("v.jsonl")) == expected()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"_id": "quebrada"', "JSON"),
        ('{"text": "sem id"}', "_id"),
        ('{"_id": "x"}', "text"),
        ('{"_id": "1", "text": "outra vez"}', "duplicate"),
        ('{"_id": "x", "text": ["lista"]}', "list"),
        ('{"_id": "x", "text": "\\ud800"}', "surrogate"),
        ('{"_id": "x", "text": "a\\u0000"}', "NUL"),
    ],
)
def test_a_bad_record_ends_the_run_by_its_line_and_nothing_is_written(cli: Command, corpus: Path, line: str, what: str) -> None:
    corpus.write_text(corpus.read_text() + line + "\n")
    Path("v.jsonl").write_text("antes")
    assert_fails(cli("encode", corpus, "v.jsonl"), 3, "corpus.jsonl, line 5", what, "--dead-letter")
    assert Path("v.jsonl").read_text() == "antes"
    assert sorted(path.name for path in Path().iterdir()) == ["corpus.jsonl", "v.jsonl"]


def test_with_a_dead_letter_file_the_rest_is_encoded(cli: Command, corpus: Path) -> None:
    corpus.write_text('{"_id": "quebrada"\n' + corpus.read_text() + '{"_id": "5", "text": 5}\n')
    outcome = cli("encode", corpus, "v.jsonl", "--dead-letter", "dl.jsonl", "--json")
    assert_fails(outcome, 7, "2 of 6", "line 1", "dl.jsonl")
    assert (outcome.json["written"], outcome.json["rejected"], outcome.json["dead_letter"]) == (4, 2, "dl.jsonl")
    assert vectors(lines("v.jsonl")) == expected()
    assert [one["line"] for one in lines("dl.jsonl")] == [1, 6]
    assert cli("encode", corpus, "v.jsonl", "--dead-letter", "dl.jsonl", "--allow-rejected").code == 0


def test_a_damaged_file_writes_nothing(cli: Command, corpus: Path, tmp_path: Path) -> None:
    write_jsonl(corpus, [{"_id": str(n), "text": f"texto {n * 7919}"} for n in range(500)])
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(corpus.read_bytes())[:-200])
    outcome = cli("encode", "c.jsonl.gz", "v.jsonl", "--dead-letter", "dl.jsonl")
    assert_fails(outcome, 3, "c.jsonl.gz, line")
    assert not Path("v.jsonl").exists()


def test_a_long_text_ends_the_run_or_goes_to_the_dead_letter_file(cli: Command, corpus: Path) -> None:
    corpus.write_text(corpus.read_text() + json.dumps({"_id": "longo", "text": "x " * 60}) + "\n")
    assert_fails(cli("encode", corpus, "v.jsonl", "--on-long", "error"), 3, "line 5", "60 words")
    assert not Path("v.jsonl").exists()
    cli("encode", corpus, "v.jsonl", "--on-long", "error", "--dead-letter", "dl.jsonl")
    assert vectors(lines("v.jsonl")) == expected()


def test_places_that_cannot_be_written(cli: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "pasta").mkdir()
    assert_fails(cli("encode", corpus, "pasta"), 3, "pasta is a folder")
    assert_fails(cli("encode", corpus, "sem-pasta/v.jsonl"), 3, "sem-pasta")


def test_inputs_that_cannot_be_read_and_models_that_are_not_there(cli: Command, corpus: Path) -> None:
    assert_fails(cli("encode", "nada.jsonl", "v.jsonl"), 3, "nada.jsonl")
    assert_fails(cli("encode", corpus, "v.jsonl", "--model", "no-such-model"), 4, "no-such-model")
    assert not Path("v.jsonl").exists()
