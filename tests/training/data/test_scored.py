"""Scored lines: negatives and the teacher's scores as the lines have them; a score is never made up."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from tests.training.data.support import same_batch, travelled
from training.data import rows
from training.data.open import open_batches
from training.data.scored import ScoredBatches
from training.recipe.sections import ScoredData

Line = dict[str, Any]


def opened(folder: Path, lines: list[Line | str], *, batch: int = 1, seed: int = 0, negatives: int = 1, **section: str) -> ScoredBatches:
    content = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / "scored.jsonl").write_text(content, encoding="utf-8")
    data = ScoredData(path="scored.jsonl", negatives=negatives, **section)
    return ScoredBatches(data, folder, folder / "cache", batch_queries=batch, seed=seed)


@st.composite
def scored_lines(draw: st.DrawFn) -> tuple[list[Line], int]:
    """Lines by id, with scores, and the negatives that every line has at least once known positives are left out."""
    lines: list[Line] = []
    for number in range(draw(st.integers(1, 12))):
        query = f"q{draw(st.integers(0, 4))}"
        documents = draw(st.lists(st.integers(0, 30), min_size=1, max_size=10))
        known = draw(st.lists(st.integers(0, 30), max_size=2))
        scores = [float(number * 100 + place) for place in range(len(documents))]
        ids = [f"d{n}" for n in documents]
        line = {"query_id": query, "query": f"texto de {query}", "doc_ids": ids, "documents": [f"texto de {d}" for d in ids]}
        lines.append({**line, "positives": [f"d{n}" for n in known], "scores": scores})
    right = positives_of(lines)
    left = min(len({d for d in line["doc_ids"][1:] if d not in right[line["query_id"]]}) for line in lines)
    return lines, left


def positives_of(lines: list[Line]) -> dict[str, set[str]]:
    right: dict[str, set[str]] = {}
    for line in lines:
        right.setdefault(line["query_id"], set()).update([line["doc_ids"][0], *line["positives"]])
    return right


@given(made=scored_lines(), data=st.data())
def test_batches_hold_the_lines_their_scores_and_every_known_positive(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[list[Line], int], data: st.DataObject
) -> None:
    lines, left = made
    negatives, right = data.draw(st.integers(0, left)), positives_of(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_CHUNK", data.draw(st.integers(1, 6)))
        batch_queries = data.draw(st.integers(1, len(lines)))
        source = opened(tmp_path_factory.mktemp("scored"), list(lines), negatives=negatives, batch=batch_queries)
    seen: Counter[int] = Counter()
    for step in range(source.sizes["steps_per_epoch"]):
        batch = source.batch(step)
        assert batch.teacher is not None
        for row, text in enumerate(batch.queries):
            query = text.split()[-1]
            assert batch.relevant[row].tolist() == [document.split()[-1] in right[query] for document in batch.documents]
            number = int(batch.teacher[row, batch.positive[row]]) // 100
            line = lines[number]
            seen[number] += 1
            chosen = np.flatnonzero(batch.own[row])
            assert len(chosen) == negatives
            for column in [int(batch.positive[row]), *chosen.tolist()]:
                place = int(batch.teacher[row, column]) % 100
                assert line["query_id"] == query and line["documents"][place] == batch.documents[column]
            assert int(np.isfinite(batch.teacher[row]).sum()) == 1 + negatives
    assert set(seen) == set(range(len(lines)))


def test_a_resumed_run_gets_bit_identical_batches_from_any_process(tmp_path: Path) -> None:
    lines: list[Line | str] = [
        {"query": f"pergunta {n}", "documents": [f"texto {n * 10 + k}" for k in range(8)], "scores": [k / 7 for k in range(8)]}
        for n in range(20)
    ]
    used = opened(tmp_path, lines, batch=6, negatives=3)
    batches = [used.batch(step) for step in range(15)]
    fresh, carried = opened(tmp_path, lines, batch=6, negatives=3), travelled(used)
    assert all(same_batch(source.batch(step), batches[step]) for source in (fresh, carried) for step in (14, 0, 7))
    dispatched = open_batches(ScoredData(path="scored.jsonl", negatives=3), tmp_path, tmp_path / "cache", batch_queries=6, seed=0)
    assert same_batch(dispatched.batch(9), batches[9])
    assert not same_batch(opened(tmp_path, lines, batch=6, negatives=3, seed=1).batch(0), batches[0])


def test_negatives_are_drawn_anew_in_each_epoch_and_all_are_drawn_alike(tmp_path: Path) -> None:
    source = opened(tmp_path, [{"query": "a", "documents": ["certo", *(f"n{k}" for k in range(6))]}], negatives=2)
    drawn = [tuple(source.batch(epoch).documents[1:]) for epoch in range(600)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    counts = Counter(text for pair in drawn for text in pair)
    assert len(counts) == 6 and max(abs(count - 200) for count in counts.values()) < 60  # about 11 is one standard deviation
    assert len(set(drawn)) == 30


def test_zero_negatives_are_in_batch_negatives_only(tmp_path: Path) -> None:
    batch = opened(tmp_path, [{"query": "a", "documents": ["b"]}, {"query": "c", "documents": ["d", "e"]}], negatives=0, batch=2).batch(0)
    assert len(batch.documents) == 2 and not batch.own.any() and batch.teacher is None


@pytest.mark.parametrize("name", ["corpus.jsonl", "collection.tsv"])
def test_texts_that_lines_name_by_id_come_from_the_stores(tmp_path: Path, name: str) -> None:
    texts = [("1", "um"), ("2", "dois"), ("3", "três")]
    line = '{{"_id": "{0}", "text": "{1}"}}\n' if name.endswith("jsonl") else "{0}\t{1}\n"
    (tmp_path / name).write_text("".join(line.format(*each) for each in texts), encoding="utf-8")
    (tmp_path / "queries.tsv").write_text("q\tpergunta\n", encoding="utf-8")
    lines: list[Line | str] = [{"query_id": "q", "doc_ids": [3, "1", "2"], "scores": [3, 1, 2]}]
    source = opened(tmp_path, lines, negatives=2, collection=name, queries="queries.tsv")
    batch = source.batch(0)
    assert batch.queries == ["pergunta"] and batch.teacher is not None
    assert dict(zip(batch.documents, batch.teacher[0].tolist(), strict=True)) == {"três": 3.0, "um": 1.0, "dois": 2.0}
    (tmp_path / name).write_text("".join(line.format(*each) for each in reversed(texts)), encoding="utf-8")
    assert opened(tmp_path, lines, negatives=2, collection=name, queries="queries.tsv").sha256 != source.sha256


def test_a_text_file_that_no_line_needs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("1\tum\n", encoding="utf-8")
    for name in ("collection", "queries"):
        for _ in range(2):  # also when the lines were looked at before
            with pytest.raises(ConfigError, match=rf"data\.{name} has no effect"):
                opened(tmp_path, [{"query": "a", "documents": ["b", "c"]}], **{name: "texts.tsv"})


GOOD: Line = {"query": "a", "documents": ["b", "c"], "scores": [1, 0]}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected an object, it is list"),
        ({**GOOD, "scores": [1]}, "1 scores for 2 documents"),
        ({**GOOD, "scores": [1, 2, 3]}, "3 scores for 2 documents"),
        ({**GOOD, "scores": [1, None]}, r"document 1 has no score \(it is None\)"),
        ({**GOOD, "scores": [1, "2"]}, "document 1 has no score"),
        ({**GOOD, "scores": [True, 0]}, "document 0 has no score"),
        ({**GOOD, "scores": None}, '"scores" is null'),
        ({**GOOD, "scores": 1}, '"scores" is int'),
        ('{"query": "a", "documents": ["b", "c"], "scores": [NaN, 0]}', "score of document 0 is nan"),
        ('{"query": "a", "documents": ["b", "c"], "scores": [0, -Infinity]}', "score of document 1 is -inf"),
        ('{"query": "a", "documents": ["b", "c"], "scores": [0, 1e400]}', "score of document 1 is inf"),
        ('{"query": "a", "documents": ["b", "c"], "scores": [0, 1' + "0" * 400 + "]}", "score of document 1 is 1000"),
        ({"query": "a", "documents": ["b", "c"]}, "some rows have them and some do not"),
        ({**GOOD, "score": [1, 0]}, "'score' is not known: did you mean 'scores'"),
        ({**GOOD, "documents": []}, "no document"),
        ({**GOOD, "documents": ["b"], "scores": [1]}, "0 of 0 negatives can be used, and data.negatives is 1"),
        ({**GOOD, "documents": ["b", "b"]}, "0 of 1 negatives can be used"),
        ({**GOOD, "query": "outra", "positives": ["c"]}, "0 of 1 negatives can be used"),
        ({**GOOD, "documents": ["b", " "]}, "document 1 is empty"),
        ({**GOOD, "documents": ["", "c"]}, "document 0 is empty"),
        ({**GOOD, "query": ""}, "the query is empty"),
        ({**GOOD, "query": 3}, '"query" has int'),
        ({**GOOD, "documents": "b"}, '"documents" is str: expected a list'),
        ({**GOOD, "documents": ["b", 3]}, '"documents" has int'),
        ({**GOOD, "documents": ["b", "c\0"]}, "NUL"),
        ({**GOOD, "documents": ["b", "\ud800"]}, "surrogate"),
        ({**GOOD, "doc_ids": ["b"]}, '2 "documents" and 1 "doc_ids"'),
        ({**GOOD, "query_id": 1.5}, '"query_id" has float'),
        ({"query": "a", "doc_ids": ["b", "c"], "scores": [1, 0]}, "no data.collection to find"),
        ({"query_id": "a", "documents": ["b", "c"], "scores": [1, 0]}, "no data.queries to find the id 'a'"),
        ({"documents": ["b", "c"], "scores": [1, 0]}, 'expected "query"'),
        ({"query": "a", "scores": [1, 0]}, 'expected "documents"'),
    ],
)
def test_a_bad_line_is_named_before_the_first_step(tmp_path: Path, line: Line | str, why: str) -> None:
    with pytest.raises(InputFileError, match=rf"scored.jsonl, line 3: .*{why}"):
        opened(tmp_path, [GOOD, "", line, GOOD])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"query": "a", "doc_ids": ["1", "9"]}, "'9' is not an id of .*collection.tsv"),
        ({"query": "a", "doc_ids": ["1", "2"]}, "document '2' is empty in .*collection.tsv"),
        ({"query_id": "z", "doc_ids": ["1", "3"]}, "'z' is not an id of .*queries.tsv"),
        ({"query_id": "e", "doc_ids": ["1", "3"]}, "the query is empty"),
    ],
)
def test_an_id_without_a_text_is_named(tmp_path: Path, line: Line, why: str) -> None:
    (tmp_path / "collection.tsv").write_text("1\tum\n2\t\n3\ttrês\n", encoding="utf-8")
    (tmp_path / "queries.tsv").write_text("q\tpergunta\ne\t \n", encoding="utf-8")
    good: Line = {"query_id": "q", "doc_ids": ["1", "3"]}
    with pytest.raises(InputFileError, match=rf"scored.jsonl, line 2: .*{why}"):
        opened(tmp_path, [good, line], collection="collection.tsv", queries="queries.tsv")


def test_positives_of_another_line_of_the_query_are_no_negatives_and_are_counted(tmp_path: Path) -> None:
    lines: list[Line | str] = [
        {"query_id": "q", "query": "a", "doc_ids": ["1", "2", "3"], "documents": ["um", "dois", "três"]},
        {"query_id": "q", "query": "a", "doc_ids": ["2", "4", "4"], "documents": ["dois", "quatro", "quatro"]},
    ]
    source = opened(tmp_path, lines, batch=2)
    assert source.sizes["left_out_negative_is_positive"] == 1 and source.sizes["left_out_repeated_negative"] == 1
    assert source.sizes["queries"] == 1
    for step in range(20):
        batch = source.batch(step)
        negatives = {batch.documents[column] for column in np.flatnonzero(batch.own.any(axis=0))}
        assert negatives == {"três", "quatro"}


def test_lines_without_any_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no line is left"):
        opened(tmp_path, ["", " "])
    with pytest.raises(ValidationError, match=r"(?s)negatives.*greater than or equal to 0"):
        opened(tmp_path, [GOOD], negatives=-1)
