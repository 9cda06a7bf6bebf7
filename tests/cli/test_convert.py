"""splade-ptbr convert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.cli import convert as command
from splade_ptbr_connectors.interchange.formats import FORMATS
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

from .conftest import DOCUMENTS, Command, assert_fails

NAMES = {
    "anserini": "a.jsonl.gz",
    "ciff": "x.ciff",
    "pisa": "x.docs",
    "seismic": "s.jsonl",
    "seismic-bin": "s.bin",
    "anserini-queries": "q.tsv",
}


def vectors(path: str) -> dict[str, SparseVector]:
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return {line["_id"]: SparseVector.from_opensearch(line["vector"]) for line in lines}


@pytest.fixture
def encoded(cli: Command, corpus: Path) -> str:
    assert cli("encode", corpus, "v.jsonl", "--with-record").code == 0
    return "v.jsonl"


@pytest.mark.parametrize("model", [[], ["--model", "mini"]], ids=["ids", "tokens"])
@pytest.mark.parametrize("format", NAMES)
def test_what_encode_wrote_goes_there_and_back_and_into_a_store(format: str, model: list[str], cli: Command, encoded: str) -> None:
    name = NAMES[format]
    document = cli("convert", encoded, name, "--from", "jsonl", "--to", format, *model, "--json").json
    assert (document["from"], document["to"], document["documents"], document["dropped"]) == ("jsonl", format, 4, 0)
    assert document["terms"] == ("tokens" if model and FORMATS[format].named else "ids")
    assert document["fingerprint"] == HashingEncoder("mini").fingerprint
    assert cli("convert", name, "b.jsonl", "--from", format, "--to", "jsonl", *model).code == 0
    assert vectors("b.jsonl") == vectors(encoded)  # the stand-in's weights are quarters: nothing is rounded
    assert cli("search", "gripe", "--store", "edge:loja").code != 0
    if format in ("anserini", "seismic"):  # the others carry no text
        assert cli("ingest", "b.jsonl", "--store", "edge:loja", "--json").json["written"] == 4


def test_the_formats_of_the_help_are_the_formats() -> None:
    assert command.FORMATS.split(", ") == list(FORMATS)


def test_formats_that_the_names_say(cli: Command, encoded: str) -> None:
    outcome = cli("convert", encoded, "x.ciff.gz", "--from", "jsonl")
    assert outcome.code == 0 and "4 documents" in outcome.out
    assert "weights times 100, 0 rounded to 0 and dropped" in " ".join(outcome.out.split())
    assert cli("convert", "x.ciff.gz", "q.tsv").code == 0
    assert_fails(cli("convert", "q.tsv", "b.jsonl"), 2, "does not say its format: give --to")
    assert_fails(cli("convert", "b.jsonl", "q.tsv"), 2, "does not say its format: give --from")
    assert_fails(cli("convert", "q.tsv", "b.jsonl", "--to", "xml"), 2, "'xml'")


def test_quantisation_and_pruning_are_reported(cli: Command, encoded: str) -> None:
    arguments = ["convert", encoded, "x.ciff", "--from", "jsonl", "--quantisation", "2", "--prune", "top_k=2"]
    document: dict[str, Any] = cli(*arguments, "--json").json
    assert (document["quantisation"], document["pruning"], document["postings"]) == (2, "top_k=2", 8)
    assert "pruned with top_k=2" in cli(*arguments).out
    outcome = cli("convert", encoded, "y.ciff", "--from", "jsonl", "--prune", "threshold=9")
    assert f"{len(DOCUMENTS)} documents left without a posting" in " ".join(outcome.out.split())


def test_every_passage_is_counted(cli: Command, tmp_path: Path) -> None:
    text = " ".join(f"Frase número {n} trata do prazo e de mais nada que importe aqui." for n in range(200))
    (tmp_path / "long.jsonl").write_text(json.dumps({"_id": "lei", "text": text}) + "\n")
    assert cli("encode", "long.jsonl", "v.jsonl", "--with-record", "--passages", "passage_tokens=100").code == 0
    passages = json.loads((tmp_path / "v.jsonl").read_text())["passages"]
    document = cli("convert", "v.jsonl", "w.jsonl", "--from", "jsonl", "--to", "jsonl", "--json").json
    assert len(passages) > 5 and document["postings"] == sum(len(passage["vector"]) for passage in passages)
    assert cli("convert", "v.jsonl", "w.jsonl", "--from", "jsonl", "--to", "jsonl").out.startswith("1 document, ")


def test_a_folder_of_anserinis(cli: Command, encoded: str) -> None:
    assert cli("convert", encoded, "folder", "--from", "jsonl", "--to", "anserini", "--documents-per-file", "3").code == 0
    assert len(list(Path("folder").iterdir())) == 2
    assert cli("convert", "folder", "b.jsonl", "--from", "anserini", "--to", "jsonl").code == 0
    assert vectors("b.jsonl") == vectors(encoded)
    assert_fails(cli("convert", encoded, "folder", "--from", "jsonl", "--to", "anserini"), 3, "exists")


def test_what_is_wrong_is_told_with_an_exit_code(cli: Command, encoded: str) -> None:
    assert cli("convert", encoded, "x.ciff", "--from", "jsonl").code == 0
    assert_fails(cli("convert", "x.ciff", "b.jsonl", "--to", "jsonl", "--model", "outro"), 4, "the model with the fingerprint")
    Path("x.ciff.manifest").unlink()
    assert_fails(cli("convert", "x.ciff", "b.jsonl", "--to", "jsonl"), 2, "give the factor")
    assert cli("convert", "x.ciff", "b.jsonl", "--to", "jsonl", "--source-quantisation", "100").code == 0
    Path("x.ciff").write_bytes(Path("x.ciff").read_bytes()[:-1])
    assert_fails(cli("convert", "x.ciff", "c.jsonl", "--to", "jsonl", "--source-quantisation", "100"), 3, "x.ciff, byte")
    Path("v.jsonl").write_text('{"_id": "1", "vector": {"1": 1}}\n{"_id": "2"}\n')
    assert_fails(cli("convert", "v.jsonl", "y.ciff", "--from", "jsonl"), 3, "v.jsonl, line 2")
    for factor in ([], ["--source-quantisation", "1"]):
        assert_fails(cli("convert", "missing.ciff", "y.tsv", *factor), 3, "missing.ciff")
    assert_fails(cli("convert", "v.jsonl", "y.ciff", "--from", "jsonl", "--prune", "top=3"), 2, "top_k")
    assert_fails(cli("convert", "v.jsonl", "y.ciff", "--from", "jsonl", "--quantisation", "0"), 2, "quantisation")
    assert_fails(cli("convert", "-", "y.ciff", "--from", "jsonl"), 2, "file name")
    assert not Path("c.jsonl").exists() and not Path("y.ciff").exists() and not Path("y.ciff.manifest").exists()
