"""BEIR folders, weak pairs and running text: read as they are, and what is wrong with them is named with its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputError, InputFileError
from splade_ptbr_connectors.evaluation.collections import BeirFolder, read_beir
from splade_ptbr_connectors.evaluation.files import read_lines
from training.data.cloze import passages_of
from training.data.held_out import held_out_collection, split_train
from training.data.sources import load_sources, read_pairs
from training.recipe.sections import CollectionsData

CORPUS = [{"_id": "d1", "title": "Um", "text": "texto"}, {"_id": "d2", "text": " sem título "}]
QUERIES = [{"_id": "q1", "text": "um?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\n"
SECTION = CollectionsData(collections=("beir",), mixture={"beir": 1.0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (tmp_path / "beir" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "beir" / "qrels" / "train.tsv").write_text(QRELS, encoding="utf-8")
    return tmp_path / "beir"


def test_a_folder_is_read_compressed_or_not(folder: Path) -> None:
    plain = read_beir(folder)
    assert plain.documents == {"d1": "Um texto", "d2": "sem título"}
    assert plain.split("train").qrels == {"q1": {"d1": 1}}
    corpus = folder / "corpus.jsonl"
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(corpus.read_bytes()))
    corpus.unlink()
    assert read_beir(folder) == plain


@pytest.mark.parametrize(
    ("file", "line", "why"),
    [
        ("corpus.jsonl", '{"_id": "d3", "text": "x"', "corpus.jsonl, line 3: not JSON"),
        ("corpus.jsonl", '{"_id": "d3"}', 'corpus.jsonl, line 3: no "text"'),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}', "corpus.jsonl, line 3: duplicate document id 'd1'"),
        ("corpus.jsonl", '{"_id": "d3", "text": "\\ud800"}', "corpus.jsonl, line 3: .*surrogate"),
        ("queries.jsonl", '{"_id": "q1", "text": "x"}', "queries.jsonl, line 2: duplicate query id 'q1'"),
        ("qrels/train.tsv", "q1\td1", "train.tsv, line 3: expected query-id, corpus-id and score"),
        ("qrels/train.tsv", "q1\td1\tsim", "train.tsv, line 3: relevance 'sim' is not an integer"),
        ("qrels/train.tsv", "q9\td1\t1", "train.tsv: 1 of 2 judged queries have no text .*'q9'"),
    ],
)
def test_a_broken_line_is_named(folder: Path, file: str, line: str, why: str) -> None:
    with open(folder / file, "a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    with pytest.raises(InputFileError, match=why):
        read_beir(folder)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl"])
def test_a_file_that_is_missing_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(InputFileError, match=file):
        read_beir(folder)
    with pytest.raises(InputFileError, match=r"no such folder: .*nowhere \(is the data folder right\?\)"):
        read_beir(folder / "nowhere")


def test_a_relevant_document_that_is_not_in_the_corpus_is_named(folder: Path) -> None:
    (folder / "qrels" / "train.tsv").write_text(QRELS + "q1\tabsent\t1\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=r"1 relevant documents .* not in the corpus .*'absent'"):
        load_sources(SECTION, folder.parent, seed=1)


@pytest.mark.parametrize(
    "line", ['{"query": "q"', '{"query": "q"}', '["q", "p"]', '{"query": "q", "positive": 3}', '{"query": " ", "positive": "p"}']
)
def test_a_broken_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"query": "q", "positive": "p", "source": "a", "more": 1}\n\n{"query": "r", "positive": "s"}\n', encoding="utf-8")
    assert read_pairs(path) == [("q", "p", "a"), ("r", "s", "")]
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    with pytest.raises(InputFileError, match=r"pairs\.jsonl, line 4: "):
        read_pairs(path)


@given(st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=3), min_size=4, max_size=12), st.floats(0.1, 0.9), st.integers(1, 3))
def test_no_passage_is_trained_on_and_validated_on_and_none_of_the_test_is_in_either(
    judged: list[set[int]], share: float, tests: int
) -> None:
    qrels = {f"q{number}": {f"d{passage}": 1 for passage in passages} for number, passages in enumerate(judged)}
    test = {name: qrels.pop(name) for name in list(qrels)[:tests]}
    documents = {f"d{number}": "texto" for number in range(10)}
    collection = BeirFolder("x", documents, dict.fromkeys([*qrels, *test], "consulta"), {"train": qrels, "test": test})
    training, kept_out = split_train(collection, share)
    passages = {name: {d for judged in part.values() for d in judged} for name, part in (("train", training), ("held", kept_out))}
    assert not training.keys() & kept_out.keys() and not passages["train"] & passages["held"]
    tested = {d for judged in test.values() for d in judged}
    try:
        validated = held_out_collection(collection, kept_out)
    except InputError:
        assert passages["held"] <= tested  # nothing is left to measure on
        return
    assert not dict(validated.documents()).keys() & tested
    assert validated.queries.keys() == validated.qrels.keys() <= kept_out.keys()


def by_definition(lines: list[str], words: int) -> Iterator[str]:
    """Documents are what stands between blank lines; each is cut after the paragraph that completes `words` words."""
    held: list[str] = []
    for line in [*lines, ""]:
        held += [line.strip()] if line.strip() else []
        if held and (not line.strip() or sum(len(text.split()) for text in held) >= words):
            yield " ".join(held)
            held = []


@given(st.lists(st.sampled_from(["", "  ", "um", "um dois ", "a b c d"]), min_size=1), st.integers(1, 6))
def test_no_passage_goes_over_a_blank_line(tmp_path_factory: pytest.TempPathFactory, lines: list[str], words: int) -> None:
    path = tmp_path_factory.getbasetemp() / "texto.txt"
    path.write_text("\n".join([*lines, "fim"]) + "\n", encoding="utf-8")
    assert list(passages_of(read_lines(path), words=words)) == list(by_definition([*lines, "fim"], words))
