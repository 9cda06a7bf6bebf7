"""Mined negatives: never a known positive, never a copy, everything counted, and the same file however often the run was broken off."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, collection_in_memory
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from training.data.open import open_batches
from training.mining import mine as mining
from training.mining.mine import MiningReport, mine
from training.mining.negatives import Candidate, Draw, Positive, Selection, choose, normalized
from training.mining.score import score
from training.mining.teachers import SparseTeacher
from training.recipe.sections import ScoredData

WORDS = "imposto renda vacina café água rio mar lei prazo banco conta texto busca palavra termo ano dia casa cidade país".split()
KEEP_ALL = Selection((Draw(20, 40),), max_share_of_positive=float("inf"))


def a_collection() -> JudgedCollection:
    documents = {f"d{n}": " ".join(WORDS[(n * step) % len(WORDS)] for step in range(1, 5 + n % 7)) + f" {n}" for n in range(60)}
    documents |= {"copy": documents["d7"].upper() + " !", "other": "nada disso aqui"}
    queries = {f"q{n}": " ".join(documents[f"d{n}"].split()[:3]) for n in range(12)} | {"q-alone": "xyz", "q-unjudged": "renda"}
    qrels = {f"q{n}": {f"d{n}": 1, f"d{n + 20}": 2, f"d{n + 40}": 0} for n in range(12)}
    qrels |= {"q-alone": {"other": 1}, "q3": {"d3": 1, "absent": 1}}
    return collection_in_memory("toy", documents, queries, qrels)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def positive(score: float = 10.0, *copies: str) -> Positive:
    return Positive("p", score, frozenset({"p", "p2"}), frozenset(copies))


# -- choosing ---------------------------------------------------------------------------------------------------------

ranked = st.lists(st.tuples(st.sampled_from(["p", "p2", *"abcdefgh"]), st.text("ab C.", max_size=4), st.floats(0.1, 20)), max_size=30)


@given(ranked, st.integers(0, 4), st.floats(0.1, 1.5), st.integers(0, 5))
def test_every_candidate_is_chosen_or_counted_or_was_simply_not_drawn(rows: list[Any], skip: int, share: float, seed: int) -> None:
    candidates = [Candidate(f"{name}{n}" if name not in ("p", "p2") else name, text, score) for n, (name, text, score) in enumerate(rows)]
    selection = Selection((Draw(2, 5), Draw(3, 20)), skip_top=skip, max_share_of_positive=share, seed=seed)
    chosen, removed = choose("q", candidates, positive(10.0, "a b"), selection)
    within = candidates[: selection.depth]
    assert sum(removed.values()) + len(chosen) <= len(within) and len(chosen) <= selection.count
    assert not {"p", "p2"} & {c.doc_id for c in chosen}
    assert all(c.score < share * 10.0 and normalized(c.text) != "a b" for c in chosen)
    assert not set(within[:skip]) & set(chosen)
    assert len({normalized(c.text) for c in chosen}) == len(chosen)
    assert [c for c in within if c in chosen] == chosen  # in order of rank
    unlimited = replace(selection, draws=(Draw(20, 20),))
    assert sum(removed.values()) + len(choose("q", candidates, positive(10.0, "a b"), unlimited)[0]) == len(within)


def test_each_reason_is_named() -> None:
    candidates = [
        Candidate("first", "primeiro", 20.0),
        Candidate("p2", "outro certo", 9.0),
        Candidate("c", "O  Positivo!", 9.0),
        Candidate("near", "quase", 9.5),
        Candidate("good", "bom", 9.4),
        Candidate("again", "BOM.", 9.3),
        Candidate("deep", "fundo", 1.0),
    ]
    chosen, removed = choose("q", candidates, positive(10.0, "o positivo"), Selection((Draw(6, 6),), skip_top=1))
    assert [c.doc_id for c in chosen] == ["good"]
    assert removed == {"skipped_top": 1, "known_positive": 1, "copy_of_positive": 1, "near_positive_score": 1, "copy_of_negative": 1}


def test_draws_come_from_their_ranks_and_do_not_overlap() -> None:
    candidates = [Candidate(f"d{n}", f"texto {n}", 5.0) for n in range(1000)]
    selection = Selection((Draw(50, 50), Draw(50, 1000)), max_share_of_positive=0.95)  # SPLADE-v3
    chosen, _ = choose("q", candidates, positive(), selection)
    assert len({c.doc_id for c in chosen}) == 100
    assert {c.doc_id for c in chosen} >= {f"d{n}" for n in range(50)}
    assert any(int(c.doc_id[1:]) > 500 for c in chosen)


def test_the_drawing_depends_on_the_query_and_the_seed_alone() -> None:
    candidates = [Candidate(f"d{n}", f"texto {n}", 5.0) for n in range(200)]
    draws = {(query, seed): choose(query, candidates, positive(), Selection(seed=seed))[0] for query in "ab" for seed in (0, 1)}
    assert draws["a", 0] == choose("a", candidates, positive(), Selection())[0]
    assert len({tuple(chosen) for chosen in draws.values()}) == 4


def test_teacher_scores_remove_what_is_not_clearly_worse() -> None:
    candidates = [Candidate(name, name, 1.0) for name in ("worse", "close", "better", "unknown")]
    teacher = {"p": 3.0, "worse": 1.0, "close": 2.5, "better": 4.0}
    chosen, removed = choose("q", candidates, positive(), Selection((Draw(4, 4),), teacher_margin=1.0), teacher)
    assert [c.doc_id for c in chosen] == ["worse"]
    assert removed == {"near_positive_teacher_score": 2, "not_scored_by_teacher": 1}
    with pytest.raises(InputError, match="has not scored the positive 'p' of query 'q'"):
        choose("q", candidates, positive(), Selection(), {"worse": 1.0})


@pytest.mark.parametrize(
    ("one", "other"), [("Água  é vida.", "água é VIDA"), ("ﬁm", "fim"), ("a\u0301gua", "água"), ("a-b", "a b"), ("", " … ")]
)
def test_texts_that_differ_in_case_form_or_marks_are_copies(one: str, other: str) -> None:
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(("one", "other"), [("água", "agua"), ("10", "11"), ("ab", "a b")])
def test_other_words_are_no_copies(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": ()}, "no draw"),
        ({"skip_top": 200}, "skip_top is 200"),
        ({"skip_top": -1}, "skip_top is -1"),
        ({"max_share_of_positive": 0.0}, "must be above 0"),
        ({"max_share_of_positive": float("nan")}, "must be above 0"),
    ],
)
def test_settings_that_select_nothing_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**settings)


@pytest.mark.parametrize(("count", "depth"), [(0, 5), (6, 5), (-1, 5)])
def test_a_draw_of_more_than_there_is_is_an_error(count: int, depth: int) -> None:
    with pytest.raises(ConfigError, match="negatives"):
        Draw(count, depth)


# -- a collection -----------------------------------------------------------------------------------------------------


def test_lines_hold_what_the_model_ranks_best_without_the_known_positives(tmp_path: Path) -> None:
    collection, encoder, out = a_collection(), HashingEncoder(), tmp_path / "mined.jsonl"
    texts = dict(collection.documents())
    report = mine(encoder, collection, out, KEEP_ALL)
    lines = lines_of(out)
    assert report.lines == len(lines) and report.negatives == sum(len(line["documents"]) - 1 for line in lines)
    for line in lines:
        known = [doc_id for doc_id, grade in collection.qrels[line["query_id"]].items() if grade > 0]
        assert line["positives"] == known and line["doc_ids"][0] in known and not set(line["doc_ids"][1:]) & set(known)
        assert line["documents"] == [texts[doc_id] for doc_id in line["doc_ids"]] and line["query"] == collection.queries[line["query_id"]]
        query = encoder.encode_query(line["query"])
        scores = {doc_id: query.dot(encoder.encode_query(text)) for doc_id, text in texts.items()}
        order = sorted((doc_id for doc_id in texts if scores[doc_id] > 0), key=lambda doc_id: -scores[doc_id])  # stable: ties in order
        assert set(line["doc_ids"][1:]) <= set(order[:40])
        assert [scores[doc_id] for doc_id in line["doc_ids"][1:]] == sorted((scores[d] for d in line["doc_ids"][1:]), reverse=True)


def test_pairs_without_a_line_are_counted_and_named(tmp_path: Path) -> None:
    report = mine(HashingEncoder(), a_collection(), tmp_path / "mined.jsonl", KEEP_ALL)
    assert report.pairs == report.lines + sum(report.left_out.values()) == 25
    assert report.left_out == {"nothing_retrieved": 1, "positive_not_in_collection": 1}
    assert report.examples == {"nothing_retrieved": ["q-alone"], "positive_not_in_collection": ["q3"]}
    assert report.removed["copy_of_positive"] > 0  # "copy" is d7 in capitals
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_blank_positive_is_left_out_and_counted(tmp_path: Path) -> None:
    documents = {"blank": "  ", "d1": "imposto de renda", "d2": "renda"}
    collection = collection_in_memory("toy", documents, {"q": "renda"}, {"q": {"blank": 1, "d2": 1}})
    report = mine(HashingEncoder(), collection, tmp_path / "mined.jsonl", KEEP_ALL)
    assert report.lines == 1 and report.left_out == {"positive_is_blank": 1}


def test_what_is_mined_and_scored_can_be_trained_on(tmp_path: Path) -> None:
    report = mine(HashingEncoder(), a_collection(), tmp_path / "mined.jsonl", KEEP_ALL)
    score(tmp_path / "mined.jsonl", tmp_path / "scored.jsonl", [SparseTeacher(HashingEncoder())])
    section = ScoredData(path="scored.jsonl", negatives=3)
    source = open_batches(section, tmp_path, tmp_path / "cache", batch_queries=4, seed=0)
    batch = source.batch(0)
    assert len(batch.queries) == 4 and batch.own.sum(axis=1).max() == 3 and batch.teacher is not None
    lines = {
        (line["query"], text): value
        for line in lines_of(tmp_path / "scored.jsonl")
        for text, value in zip(*texts_scores(line), strict=True)
    }
    rows, columns = (~np.isnan(batch.teacher)).nonzero()
    assert report.lines > 4 and len(rows) >= 8
    for row, column in zip(rows, columns, strict=True):
        assert batch.teacher[row, column] == pytest.approx(lines[batch.queries[row], batch.documents[column]])


def texts_scores(line: dict[str, Any]) -> tuple[list[str], list[float]]:
    return line["documents"], line["scores"]


def test_a_share_of_the_positives_score_bounds_every_negative(tmp_path: Path) -> None:
    encoder, out = HashingEncoder(), tmp_path / "mined.jsonl"
    report = mine(encoder, a_collection(), out, replace(KEEP_ALL, max_share_of_positive=0.5))
    assert report.removed["near_positive_score"] > 0
    for line in lines_of(out):
        query = encoder.encode_query(line["query"])
        first, *others = [query.dot(encoder.encode_query(text)) for text in line["documents"]]
        assert all(score < 0.5 * first for score in others)


def test_sizes_of_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine(HashingEncoder(), a_collection(), tmp_path / "one", KEEP_ALL)
    monkeypatch.setattr(mining, "DOCUMENTS_AT_ONCE", 7)
    monkeypatch.setattr(mining, "PAIRS_AT_ONCE", 3)
    mine(HashingEncoder(), a_collection(), tmp_path / "two", KEEP_ALL)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


class Breaking(HashingEncoder):
    """Fails after some queries, as a full disk or a lost machine would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def encode_queries(self, texts: Any) -> Iterator[SparseVector]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super().encode_queries(texts)


def broken_off(out: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(mining, "PAIRS_AT_ONCE", 4)
    with pytest.raises(KeyboardInterrupt):
        mine(Breaking(after), a_collection(), out, KEEP_ALL)


@pytest.mark.parametrize("after", [1, 3, 5])
@pytest.mark.parametrize("damage", ["", "line", "entry", "lost line"])
def test_a_resumed_run_writes_the_same_file_and_the_same_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, damage: str
) -> None:
    whole = mine(HashingEncoder(), a_collection(), tmp_path / "whole", KEEP_ALL)
    out = tmp_path / "mined.jsonl"
    broken_off(out, monkeypatch, after)
    part, journal = tmp_path / "mined.jsonl.part", tmp_path / "mined.jsonl.journal"
    if damage == "line":  # half of a line that has no entry yet
        part.write_bytes(part.read_bytes() + b'{"query_id": "q')
    if damage == "entry":  # the line is there, its entry only half
        journal.write_bytes(journal.read_bytes()[:-9])
    if damage == "lost line":  # a power cut kept the entries and lost a line
        part.write_bytes(part.read_bytes()[:-30])
    assert not out.exists()
    report = mine(HashingEncoder(), a_collection(), out, KEEP_ALL, resume=True)
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
    assert report == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mined.jsonl", "whole"]


def test_a_run_with_nothing_done_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(tmp_path / "mined.jsonl", monkeypatch, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_neither_overwritten_nor_mixed_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "mined.jsonl"
    broken_off(out, monkeypatch, 2)
    with pytest.raises(ConfigError, match="resume it with --resume"):
        mine(HashingEncoder(), a_collection(), out, KEEP_ALL)
    with pytest.raises(ConfigError, match="of another run"):
        mine(HashingEncoder(), a_collection(), out, replace(KEEP_ALL, seed=1), resume=True)
    with pytest.raises(ConfigError, match="of another run"):
        mine(HashingEncoder("other"), a_collection(), out, KEEP_ALL, resume=True)
    (tmp_path / "mined.jsonl.journal").write_text("{broken\n")
    with pytest.raises(InputFileError, match="damaged"):
        mine(HashingEncoder(), a_collection(), out, KEEP_ALL, resume=True)


def test_a_complete_file_is_not_resumed_but_can_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "mined.jsonl"
    first = mine(HashingEncoder(), a_collection(), out, KEEP_ALL)
    with pytest.raises(ConfigError, match="is complete"):
        mine(HashingEncoder(), a_collection(), out, KEEP_ALL, resume=True)
    assert mine(HashingEncoder(), a_collection(), out, KEEP_ALL) == first


def test_a_run_without_any_line_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="near_positive_score"):
        mine(HashingEncoder(), a_collection(), tmp_path / "mined.jsonl", replace(KEEP_ALL, max_share_of_positive=1e-9))
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_an_error_before_anything_is_encoded(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    for out in (tmp_path, tmp_path / "missing" / "mined.jsonl"):
        with pytest.raises(InputFileError, match="cannot be written"):
            mine(encoder, a_collection(), out, KEEP_ALL)
    assert encoder.texts_encoded == 0


def test_a_line_is_what_the_recipe_section_describes(tmp_path: Path) -> None:
    mine(HashingEncoder(), a_collection(), tmp_path / "mined.jsonl", KEEP_ALL)
    line = lines_of(tmp_path / "mined.jsonl")[0]
    assert list(line) == ["query_id", "query", "documents", "doc_ids", "positives"]


def test_documents_are_read_as_a_stream(tmp_path: Path) -> None:
    collection, taken = a_collection(), Counter[str]()

    def documents() -> Iterator[tuple[str, str]]:
        for row in a_collection().documents():
            taken["read"] += 1
            yield row

    report = mine(HashingEncoder(), replace(collection, read_documents=documents), tmp_path / "mined.jsonl", KEEP_ALL)
    assert taken["read"] == report.documents == len(list(islice(collection.documents(), 1000)))
    assert isinstance(report, MiningReport)
