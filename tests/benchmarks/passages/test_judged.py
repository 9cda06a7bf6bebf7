"""`judged` on files of mRobust's format: long documents with their marks, 250 topics, one of them without a relevant document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as program
from splade_ptbr_connectors import SpladeEncoder, ingest
from splade_ptbr_connectors.errors import ConfigError, SpladeConnectorsError
from splade_ptbr_connectors.evaluation.collections.mrobust import ON_HUB
from splade_ptbr_connectors.stores import open_store

TOPICS = range(250)
WORDS = ("barragem", "eleição", "vacina", "satélite", "ferrovia", "greve", "petróleo", "museu", "terremoto", "fronteira")
FILLER = " ".join(f"A reportagem {n} fala de assuntos gerais da cidade, do tempo e do comércio local." for n in range(40))


@pytest.fixture(scope="module")
def mrobust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Document n says what topic n asks for once, near its end, behind what all of them say."""
    folder = tmp_path_factory.mktemp("mrobust")
    documents = [f"FT911-{n}\t<P> {FILLER} </P> <P> {fact(n)} </P>" for n in TOPICS[:12]]
    topics = [f"{n + 301}\t{fact(n)}?" for n in TOPICS]
    qrels = [f"{n + 301} 0 FT911-{n % 12} {n % 3 if n != 5 else 2}" for n in TOPICS] + ["672 0 FT911-1 0"]
    for part, lines in (("documents", documents), ("queries", [*topics, "672\tnada"]), ("qrels", qrels)):
        path = folder / ON_HUB[part]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def fact(n: int) -> str:
    return f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} número {n}"


def call(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(program.app, ["judged", "--model", "mini-lexico", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_documents_of_mrobust_are_found_by_their_passages(mrobust: Path, tmp_path: Path) -> None:
    source = ("--collection", "mrobust", "--source", str(mrobust))
    passages = call(*source, "--store", f"numba:{tmp_path}/passages")
    assert passages["loaded"] | {"seconds": 0} == {"read": 12, "written": 12, "unchanged": 0, "rejected": 0, "seconds": 0}
    assert passages["passages"] == {"passage_tokens": 200, "overlap": 32}
    with open_store(f"numba:{tmp_path}/passages") as store:
        assert store.count() == 12
        hit = store.search(fact(5), 1)[0]
        assert hit.doc_id == "FT911-5" and hit.passage.number > 0 and fact(5) in hit.passage.text
    again = call(*source, "--store", f"numba:{tmp_path}/passages")
    assert again["loaded"]["unchanged"] == 12 and again["measures"] == passages["measures"]
    whole = call(*source, "--store", f"numba:{tmp_path}/whole", "--whole")
    assert whole["passages"] is None and whole["queries"] == passages["queries"] < 251
    assert passages["unanswered"] == whole["unanswered"] == 0


def test_a_table_says_what_was_loaded_and_found(mrobust: Path, tmp_path: Path) -> None:
    arguments = ["judged", "--model", "mini-lexico", "--collection", "mrobust", "--source", str(mrobust), "--store", f"numba:{tmp_path}/s"]
    done = CliRunner().invoke(program.app, arguments, catch_exceptions=False)
    assert "passages of 200 tokens, 32 of overlap, model" in done.stdout and "12 documents read, 12 written" in done.stdout
    assert "| nDCG@10 | " in done.stdout


def test_a_folder_without_the_files_is_one_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        program.app, ["judged", "--collection", "mrobust", "--source", str(tmp_path), "--store", f"numba:{tmp_path}/s"]
    )
    assert isinstance(done.exception, SpladeConnectorsError) and not (tmp_path / "s").exists()


def test_a_store_that_holds_other_documents_is_not_measured(mrobust: Path, tmp_path: Path) -> None:
    """They would push those that are judged down, and the measures would not be the collection's."""
    url = f"numba:{tmp_path}/s"
    with open_store(url, encoder=SpladeEncoder.load("mini-lexico")) as store:
        ingest([{"_id": "FT911-of-another", "text": fact(5)}], store)
    arguments = ["judged", "--model", "mini-lexico", "--collection", "mrobust", "--source", str(mrobust), "--store", url]
    done = CliRunner().invoke(program.app, arguments)
    assert isinstance(done.exception, ConfigError) and "holds 13 documents, 12 are of" in str(done.exception)
