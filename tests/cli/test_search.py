"""splade-ptbr search."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from splade_ptbr_connectors.stores import open_store
from tests.support.encoders import HashingEncoder

from .conftest import Command, assert_fails


def test_json_gives_the_stores_hits(cli: Command, filled: str) -> None:
    document = cli("search", "gripe e febre", "--store", filled, "-k", 3, "--json").json
    with open_store(filled, encoder=HashingEncoder("mini")) as store:
        expected = [(hit.doc_id, hit.score) for hit in store.search("gripe e febre", 3)]
    assert [(hit["doc_id"], hit["score"]) for hit in document["hits"]] == expected
    assert expected[0][0] == "4"
    assert document["hits"][0] == {
        "doc_id": "4",
        "score": expected[0][1],
        "title": "Febre",
        "text": "gripe e febre",
        "payload": {"metadata": {"subject": "saúde"}},
    }
    assert (document["query"], document["k"], document["model"], document["store"]) == ("gripe e febre", 3, "mini", filled)


def test_explained_contributions_add_up_to_the_score(cli: Command, filled: str) -> None:
    hits = cli("search", "gripe e febre", "--store", filled, "--explain", "--json").json["hits"]
    assert len(hits) == 2
    for hit in hits:
        contributions = [part["contribution"] for part in hit["words"]]
        assert sum(contributions) == pytest.approx(hit["score"], rel=1e-5)
        assert contributions == sorted(contributions, reverse=True)


def test_for_people_a_block_per_hit(cli: Command, filled: str) -> None:
    outcome = cli("search", "gripe", "--store", filled, "--explain")
    assert outcome.code == 0 and outcome.err == ""
    assert "Vacina (1)" in outcome.out and "vacina contra a gripe" in outcome.out
    assert "+1.00" in outcome.out and "2 hits" in outcome.out
    assert "\x1b" not in outcome.out  # no colours in a pipe


def test_markup_in_a_document_is_shown_as_it_is(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"_id": "[red]x", "title": "[b]título[/b]", "text": "café [/nada] :smile:"}\n')
    cli("ingest", "c.jsonl", "--store", "edge:m", "--json")
    out = cli("search", "café", "--store", "edge:m", "--explain").out
    assert "[b]título[/b] ([red]x)" in out and "café [/nada] :smile:" in out


def test_filters_and_nothing_found(cli: Command, filled: str) -> None:
    hits = cli("search", "gripe e", "--store", filled, "--filter", '{"metadata.subject": "culinária"}', "--json").json["hits"]
    assert hits == []
    assert "no document shares a term" in cli("search", "desconhecida", "--store", filled).out
    assert "has the score that --min-score asks for" in cli("search", "gripe", "--store", filled, "--min-score", 500).out
    assert "no word that the model knows" in cli("search", "", "--store", filled).out
    assert cli("search", "", "--store", filled, "--json").json["hits"] == []


def test_an_empty_store_says_so_and_how_it_is_filled(cli: Command, filled: str) -> None:
    open_store("edge:vazia", encoder=HashingEncoder("mini")).close()
    searched = cli("search", "gripe", "--store", "edge:vazia")
    assert searched.code == 0
    assert searched.out == "the store edge:vazia is empty: load documents with splade-ptbr ingest FILE --store edge:vazia\n"
    assert cli("search", "gripe", "--store", "edge:vazia", "--json").json["hits"] == []
    of_a_tenant = cli("search", "gripe", "--store", filled, "--tenant", "a b").out
    assert "no documents of the tenant 'a b'" in of_a_tenant and "--tenant 'a b'" in of_a_tenant


def test_hits_are_told_in_the_language_of_the_locale(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "pt_BR.UTF-8")
    out = cli("search", "vacina", "--store", filled, "--explain").out
    assert "vacina contra a gripe" in out
    assert re.search(r"^ 1 +\d,\d{3}  ", out) and re.search(r"\+\d,\d\d\n", out) and re.search(r"1 resultado em \d+,\d ms", out)
    score = cli("search", "vacina", "--store", filled, "--json").json["hits"][0]["score"]
    assert isinstance(score, float)  # JSON has a point whatever the locale
    assert "nenhum documento tem um termo em comum" in cli("search", "desconhecida", "--store", filled).out
    assert "não tem documentos do tenant 'b'" in cli("search", "gripe", "--store", filled, "--tenant", "b").out


def test_store_model_and_k_by_environment(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADE_PTBR_STORE", filled)
    monkeypatch.setenv("SPLADE_PTBR_K", "1")
    assert len(cli("search", "gripe", "--json").json["hits"]) == 1
    monkeypatch.setenv("SPLADE_PTBR_MODEL", "outro")
    assert_fails(cli("search", "gripe"), 4, "'mini'", "'outro'")


@pytest.mark.parametrize("k", ["0", "-1", "1000000", "10001"])
def test_k_out_of_range(cli: Command, filled: str, k: str) -> None:
    assert_fails(cli("search", "gripe", "--store", filled, "-k", k), 2, k, "1 to 10,000")


@pytest.mark.parametrize("k", ["três", "1.5", ""])
def test_k_that_is_no_integer(cli: Command, filled: str, k: str) -> None:
    assert_fails(cli("search", "gripe", "--store", filled, "-k", k), 2, "-k")


@pytest.mark.parametrize("filter", ["{", "[]", '"a"', '{"a": {"gta": 1}}', '{"a": 1e999}', '{"a":' * 100_000])
def test_bad_filters(cli: Command, filled: str, filter: str) -> None:
    assert_fails(cli("search", "gripe", "--store", filled, "--filter", filter), 2, "filter")


def test_stores_that_cannot_be_opened(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "arquivo").write_text("x")
    (tmp_path / "cheia").mkdir()
    (tmp_path / "cheia" / "foto.jpg").write_text("x")
    assert_fails(cli("search", "x", "--store", "edge:nada"), 5, "no store at edge:nada")
    assert_fails(cli("search", "x", "--store", "edge:arquivo"), 5, "is a file")
    assert_fails(cli("search", "x", "--store", "edge:cheia"), 5, "not a store")
    assert_fails(cli("search", "x", "--store", "egde:loja"), 2, "'edge:'")
    assert_fails(cli("search", "x", "--store", "loja"), 2, "edge:loja")
    assert not (tmp_path / "nada").exists()


def test_queries_that_are_no_text(cli: Command, filled: str) -> None:
    assert_fails(cli("search", "a\0b", "--store", filled), 3, "NUL")
    assert_fails(cli("search", "a\ud800", "--store", filled), 3, "surrogate")


def test_of_a_long_document_the_passage_is_shown(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"Frase número {n} trata de palavra{n} e de mais nada que importe aqui." for n in range(200))
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "lei", "title": "Lei", "text": text}, ensure_ascii=False) + "\n")
    cli("ingest", "c.jsonl", "--store", "edge:m", "--json")
    [hit] = cli("search", "palavra150", "--store", "edge:m", "--json").json["hits"]
    place = hit["passage"]
    assert "palavra150" in hit["text"] and len(hit["text"]) < len(text) / 2
    assert text[place["start"] : place["end"]] == hit["text"] and 0 < place["number"] < place["of"]
    out = cli("search", "palavra150", "--store", "edge:m", "--explain").out
    assert f"Lei (lei, passage {place['number'] + 1} of {place['of']})" in out and len(out) < 1000


def test_passages_as_hits_of_their_own(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"Frase número {n} trata do prazo{n % 3} e de mais nada que importe aqui." for n in range(200))
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "lei", "title": "Lei", "text": text}) + "\n")
    cli("ingest", "c.jsonl", "--store", "edge:m", "--json")
    [grouped] = cli("search", "prazo1", "--store", "edge:m", "--json").json["hits"]
    hits = cli("search", "prazo1", "--store", "edge:m", "--each-passage", "--explain", "--json").json["hits"]
    with open_store("edge:m", encoder=HashingEncoder("mini")) as store:
        expected = store.search("prazo1", 10, group=False)
    assert len(expected) > 1 and hits[0]["passage"] == grouped["passage"]
    assert [(hit["doc_id"], hit["score"], hit["passage"]["number"], hit["text"]) for hit in hits] == [
        (hit.doc_id, hit.score, hit.passage.number, hit.passage.text) for hit in expected
    ]
    assert all(hit["words"] for hit in hits)
    out = cli("search", "prazo1", "--store", "edge:m", "--each-passage").out
    assert out.count("(lei, passage ") == len(expected)
    [mean] = cli("search", "prazo1", "--store", "edge:m", "--best", 3, "--json").json["hits"]
    assert mean == {**grouped, "score": pytest.approx(sum(hit.score for hit in expected[:3]) / 3)}
    told = "the score is the mean of a document's 3 best passages"  # the words add up to something else
    for best, explain, says in ((3, ["--explain"], True), (3, [], False), (1, ["--explain"], False)):
        assert (told in cli("search", "prazo1", "--store", "edge:m", "--best", best, *explain).out) is says
    assert_fails(cli("search", "prazo1", "--store", "edge:m", "--best", 0), 2, "--best is 0")
    assert_fails(cli("search", "prazo1", "--store", "edge:m", "--best", 2, "--each-passage"), 2, "--best is 2", "hits of their own")


def test_as_many_lines_as_asked_for(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"frase{n} trata de pouco." for n in range(100))
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "lei", "text": text}) + "\n")
    cli("ingest", "c.jsonl", "--store", "edge:m", "--passages", "off", "--json")
    asked = ("search", "frase50", "--store", "edge:m", "--explain")
    for lines, count in (((), 2), (("--lines", 1), 1), (("--lines", 7), 7)):
        assert len(cli(*asked, *lines).out.splitlines()) == count + 4  # heading, words, blank, summary
    assert "".join(text.split()) in "".join(cli(*asked, "--lines", 0).out.split()).replace("**", "")
    assert cli(*asked, "--json", "--lines", 1).json["hits"][0]["text"] == text
    assert_fails(cli(*asked, "--lines", -1), 2, "--lines")


def test_encode_with_record_and_ingest_are_the_same_as_ingest(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"Frase número {n} trata de palavra{n}." for n in range(200))
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "lei", "text": text}) + '\n{"_id": "nota", "text": "texto curto"}\n')
    cli("encode", "c.jsonl", "out.jsonl", "--with-record", "--json")
    cli("ingest", "out.jsonl", "--store", "edge:ready", "--json")
    cli("ingest", "c.jsonl", "--store", "edge:texts", "--json")
    with (
        open_store("edge:ready", encoder=HashingEncoder("mini")) as ready,
        open_store("edge:texts", encoder=HashingEncoder("mini")) as texts,
    ):
        entries = texts.get(["lei", "nota"])
        assert len(entries["lei"].passages) > 1
        assert ready.get(["lei"])["lei"].passages == entries["lei"].passages
        assert ready.get(["nota"])["nota"].vector == entries["nota"].vector


def test_how_long_texts_are_split(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"Frase número {n} trata de palavra{n}." for n in range(200))
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "lei", "text": text}) + "\n")
    cli("ingest", "c.jsonl", "--store", "edge:short", "--passages", "passage_tokens=30", "--passages", "overlap=0", "--json")
    cli("ingest", "c.jsonl", "--store", "edge:whole", "--passages", "off", "--json")
    encoder = HashingEncoder("mini")
    with open_store("edge:short", encoder=encoder) as short, open_store("edge:whole", encoder=encoder) as whole:
        assert len(short.get(["lei"])["lei"].passages) > 30 and whole.get(["lei"])["lei"].passages == ()
    assert_fails(cli("ingest", "c.jsonl", "--store", "edge:short", "--passages", "passage_tokens=40"), 5, "passage_tokens")
    assert_fails(cli("ingest", "c.jsonl", "--store", "edge:other", "--passages", "tokens"), 2, "--passages 'tokens'", "passage_tokens=200")
    assert_fails(cli("encode", "c.jsonl", "-", "--passages", "off"), 2, "--with-record")


def test_a_store_that_is_only_read_is_searched_measured_and_verified_with_the_setting_that_its_errors_name(
    cli: Command, corpus: Path, filled: str, tmp_path: Path
) -> None:
    pytest.importorskip("numba")
    assert cli("ingest", corpus, "--store", "numba:livros").code == 0
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "gripe"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    reading = ["--store", "numba:livros", "--setting", "read_only=true"]
    for command in (["search", "gripe"], ["evaluate", "--queries", "queries.jsonl", "--qrels", "qrels.tsv"], ["verify", corpus]):
        assert cli(*command, *reading).code == 0
        assert_fails(cli(*command, *reading[:3], "read_only=maybe"), 2, "read_only", "maybe")
        assert_fails(cli(*command, "--store", filled, "--setting", "read_only=true"), 2, "read_only")
