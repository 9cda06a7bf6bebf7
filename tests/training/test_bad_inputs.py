"""What users get wrong, as `python -m training train` answers it: one line that names the file, the line or the key; exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from training import __main__ as command_line

TRIPLETS = """
[data]
kind = "triplets"
collection = "collection.tsv"
queries = "queries.tsv"
triples = "triples.tsv"
qrels = "qrels.tsv"
"""
SCORED = """
[data]
kind = "scored"
path = "scored.jsonl"
negatives = 1
"""
DISTIL = "ranking = {losses = {kl = 1.0}}"
VALIDATION = """
[[validation.files]]
name = "dev"
collection = "collection.tsv"
queries = "queries.tsv"
qrels = "qrels.tsv"
"""
LINE = {"query": "qual imposto?", "documents": ["imposto novo", "vacina"], "scores": [2.0, 1.0]}
Answer = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, data_dir: Path) -> Path:
    """Small files of every kind, all of them right."""
    folder = tmp_path / "data"
    shutil.copytree(data_dir / "vocab", folder / "vocab")
    shutil.copytree(data_dir / "text", folder / "text")
    shutil.copytree(data_dir / "toy", folder / "toy")
    (folder / "collection.tsv").write_text("".join(f"{n}\timposto caso {n}\n" for n in range(12)), encoding="utf-8")
    (folder / "queries.tsv").write_text("".join(f"{n}\tqual caso {n}?\n" for n in range(12)), encoding="utf-8")
    (folder / "qrels.tsv").write_text("".join(f"{n}\t0\t{n}\t1\n" for n in range(12)), encoding="utf-8")
    (folder / "triples.tsv").write_text("".join(f"{n}\t{n}\t{(n + 1) % 12}\n" for n in range(12)), encoding="utf-8")
    (folder / "scored.jsonl").write_text("".join(json.dumps(LINE | {"query": f"qual {n}?"}) + "\n" for n in range(12)), encoding="utf-8")
    return folder


@pytest.fixture
def answer(tmp_path: Path, data: Path, smoke_recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """The error of a run over `data`; a recipe's sections take the place of smoke's."""

    def run(sections: str = "", *changes: str) -> str:
        recipe = tmp_path / "recipe.toml"
        drop = 'drop = ["data"]\n' if "[data]" in sections else ""
        recipe.write_text(f'name = "bad"\nextends = "{smoke_recipe}"\n{drop}{sections}', encoding="utf-8")
        sets = [part for change in ("training.steps = 4", *changes) for part in ("--set", change)]
        out = tmp_path / "run"
        monkeypatch.setattr("sys.argv", ["training", "train", str(recipe), "--data", str(data), "--out", str(out), *sets])
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        assert stopped.value.code == 2, stopped.value.code
        assert not (out / "model").exists()
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ")
        return last

    return run


def append(path: Path, line: str) -> None:
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(line + "\n")


@pytest.mark.parametrize("name", ["triples.tsv", "collection.tsv", "queries.tsv", "qrels.tsv", "vocab/vocab.txt"])
def test_a_missing_file_is_named(data: Path, answer: Answer, name: str) -> None:
    (data / name).unlink()
    assert str(data / name) in answer(TRIPLETS + VALIDATION)


@pytest.mark.parametrize(("line", "why"), [("1\t2", "2 columns instead of 3"), ("1\t2\t3\t4", "4 columns instead of 3")])
def test_a_ragged_line_is_named_by_its_number(data: Path, answer: Answer, line: str, why: str) -> None:
    append(data / "triples.tsv", line)
    assert f"triples.tsv, line 13: {why}" in answer(TRIPLETS + VALIDATION)


def test_an_id_of_a_triplet_that_the_collection_does_not_have_is_named(data: Path, answer: Answer) -> None:
    append(data / "triples.tsv", "1\t1\t99")
    found = answer(TRIPLETS + VALIDATION)
    assert "triples.tsv, line 13: the negative '99' is not an id of" in found and "collection.tsv" in found


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (json.dumps(LINE | {"scores": [2.0, float("nan")]}), "the score of document 1 is nan: it must be a finite number"),
        (json.dumps(LINE | {"scores": [2.0]}), "1 scores for 2 documents"),
        (json.dumps(LINE | {"scores": [2.0, None]}), "document 1 has no score"),
        (json.dumps({"query": "q", "documents": ["a", "b"]}), "some rows have them and some do not"),
        (json.dumps(LINE | {"documents": ["a"], "scores": [1.0]}), "negatives"),
    ],
)
def test_a_teacher_score_that_is_missing_or_no_number_and_a_line_without_negatives_are_named(
    data: Path, answer: Answer, line: str, why: str
) -> None:
    append(data / "scored.jsonl", line)
    found = answer(SCORED + VALIDATION, DISTIL)
    assert "scored.jsonl, line 13: " in found and why in found


def test_lines_without_any_score_cannot_be_distilled_from(data: Path, answer: Answer) -> None:
    row = json.dumps({"query": "qual {}?", "documents": ["imposto", "vacina"]})
    (data / "scored.jsonl").write_text("".join(row.replace("{}", str(n)) + "\n" for n in range(12)), encoding="utf-8")
    assert "no finite teacher score" in answer(SCORED + VALIDATION, DISTIL)


def test_an_empty_validation_set_is_refused(data: Path, answer: Answer) -> None:
    assert "holds out no query" in answer("", "data.held_out = {toy = 0.001}")
    (data / "qrels.tsv").write_text("", encoding="utf-8")
    assert "qrels.tsv is empty" in answer(TRIPLETS.replace('qrels = "qrels.tsv"', "") + VALIDATION)
    (data / "qrels.tsv").write_text("1\t0\t1\t0\n", encoding="utf-8")
    assert "none of its 1 queries has a relevant document" in answer(TRIPLETS.replace('qrels = "qrels.tsv"', "") + VALIDATION)


def test_zero_negatives_are_refused_where_the_loss_has_no_others(answer: Answer) -> None:
    """In-batch negatives would be there in a larger batch, or in another candidate set."""
    assert "no negative in candidate set 'own'" in answer("", "data.negatives = 0", "ranking.candidates = 'own'")
    assert "data.negatives is empty and the candidate set has no other negatives" in answer(
        SCORED.replace("negatives = 1", "negatives = 0") + VALIDATION, "ranking.candidates = 'own'"
    )
    assert "no negative in candidate set 'all'" in answer("", "data.negatives = 0", "training.batch_queries = 1")
