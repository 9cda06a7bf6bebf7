"""Judgment, run and query files: what is written is read back, what is broken names file and line."""

from __future__ import annotations

import errno
import gzip
import math
import os
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import line_files
from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError
from splade_ptbr_connectors.evaluation.files import atomic_writer
from splade_ptbr_connectors.evaluation.qrels import read_qrels, write_qrels
from splade_ptbr_connectors.evaluation.queries import read_queries
from splade_ptbr_connectors.evaluation.runs import read_run, write_run

ids = st.text(st.characters(categories=["L", "N"], include_characters="-_.:/#"), min_size=1, max_size=12) | st.sampled_from(
    ["qid", "query-id", "1_0", "١٢"]
)
scores = st.floats(allow_nan=False, allow_infinity=False)
any_ids = ids | st.text(max_size=4) | st.sampled_from(["a b", "\ufeffa", "a\xa0b", "a\x85", "\ud800", "", " a", "a\tb", "a\rb", "a\0b"])
any_scores = (
    scores
    | st.floats()
    | st.integers()
    | scores.map(np.float64)
    | st.floats(width=32).map(np.float32)
    | st.sampled_from([True, np.uint8(3), np.int64(7), "1.5", None, 2**60 + 1, 10**400, Decimal("0.1")])
)
any_grades = st.integers(-3, 3) | st.integers() | st.sampled_from([True, np.int64(2), 1.0, "1", None, 10**6, -(10**6), 2**40])
per_test_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@per_test_folder
@given(
    qrels=st.dictionaries(ids, st.dictionaries(ids, st.integers(-2, 4), min_size=1), min_size=1), format=st.sampled_from(["beir", "trec"])
)
def test_qrels_are_read_back_as_written(tmp_path: Path, qrels: dict[str, dict[str, int]], format: str) -> None:
    write_qrels(tmp_path / "q", qrels, format=format)  # type: ignore[arg-type]
    assert read_qrels(tmp_path / "q") == qrels


@per_test_folder
@given(run=st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1), min_size=1))
def test_runs_are_read_back_as_written_best_first(tmp_path: Path, run: dict[str, dict[str, float]]) -> None:
    best_first = {query_id: dict(sorted(found.items(), key=lambda pair: -pair[1])) for query_id, found in run.items()}
    write_run(tmp_path / "run", best_first, tag="teste")
    again = read_run(tmp_path / "run")
    assert again == best_first
    assert [list(found) for found in again.values()] == [list(found) for found in best_first.values()]


@per_test_folder
@given(run=st.dictionaries(any_ids, st.dictionaries(any_ids, any_scores, max_size=3), max_size=3))
def test_a_run_is_read_back_equal_or_refused_when_it_is_written(tmp_path: Path, run: dict[str, dict[str, Any]]) -> None:
    (tmp_path / "run").unlink(missing_ok=True)
    try:
        write_run(tmp_path / "run", run)
    except InputError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert read_run(tmp_path / "run") == {query_id: found for query_id, found in run.items() if found}


@per_test_folder
@given(
    qrels=st.dictionaries(any_ids, st.dictionaries(any_ids, any_grades, max_size=3), max_size=3), format=st.sampled_from(["beir", "trec"])
)
def test_qrels_are_read_back_equal_or_refused_when_they_are_written(tmp_path: Path, qrels: dict[str, dict[str, Any]], format: str) -> None:
    (tmp_path / "q").unlink(missing_ok=True)
    try:
        write_qrels(tmp_path / "q", qrels, format=format)  # type: ignore[arg-type]
    except InputError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert read_qrels(tmp_path / "q") == qrels


@pytest.mark.parametrize("score", [np.float32(1.5), np.float64(1.5), np.uint8(3), 7])
def test_scores_of_any_kind_of_number_are_written_as_numbers(tmp_path: Path, score: Any) -> None:
    write_run(tmp_path / "run", {"q": {"d": score}})
    assert read_run(tmp_path / "run") == {"q": {"d": float(score)}}


@pytest.mark.parametrize("score", [math.nan, math.inf, "1.5", None, 10**400])
def test_scores_that_are_no_finite_numbers_are_refused(tmp_path: Path, score: Any) -> None:
    with pytest.raises(InputError, match="score of document 'd'"):
        write_run(tmp_path / "run", {"q": {"d": score}})
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_written_in_trecs_six_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"q1": {"d2": 2.5, "d1": 0.1}}, tag="x")
    assert (tmp_path / "run").read_text() == "q1 Q0 d2 1 2.5 x\nq1 Q0 d1 2 0.1 x\n"


@pytest.mark.parametrize("bad", ["com espaço", "", "a\tb"])
def test_ids_that_a_run_file_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path, bad: str) -> None:
    for run in ({bad: {"d": 1.0}}, {"q": {bad: 1.0}}):
        with pytest.raises(InputError, match="white space"):
            write_run(tmp_path / "run", run)
    with pytest.raises(ConfigError, match="white space"):
        write_run(tmp_path / "run", {"q": {"d": 1.0}}, tag=bad)
    assert list(tmp_path.iterdir()) == []


def test_qrels_of_both_layouts_mean_the_same(tmp_path: Path) -> None:
    expected = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}
    (tmp_path / "beir.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n\nq2\td1\t1\n")
    (tmp_path / "trec").write_text("q1 0 d1 2\nq1\t0\td2\t0\nq2 Q0 d1 1\r\n")
    (tmp_path / "no-header.tsv").write_text("q1\td1\t2\nq1\td2\t0\nq2\td1\t1\n")
    (tmp_path / "cr.tsv").write_bytes(b"query-id\tcorpus-id\tscore\rq1\td1\t2\rq1\td2\t0\rq2\td1\t1\r")
    (tmp_path / "packed").write_bytes(gzip.compress(b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n"))
    (tmp_path / "not-packed.gz").write_bytes(b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n")
    (tmp_path / "bom.tsv.gz").write_bytes(gzip.compress("\ufeffquery-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n".encode()))
    for name in ("beir.tsv", "trec", "no-header.tsv", "cr.tsv", "packed", "not-packed.gz", "bom.tsv.gz"):
        assert read_qrels(tmp_path / name) == expected, name


@pytest.mark.parametrize("name", ["qid", "query-id", "query_id", "QID"])
def test_a_first_query_that_is_called_as_a_header_is_no_header(tmp_path: Path, name: str) -> None:
    (tmp_path / "no-header.tsv").write_text(f"{name}\td1\t2\nq2\td1\t1\n")
    assert read_qrels(tmp_path / "no-header.tsv") == {name: {"d1": 2}, "q2": {"d1": 1}}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "line 2: expected query-id, corpus-id and score"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1 0 d2 1\n", "line 3: expected query-id"),
        ("q1 0 d1 1\nq1\td2\t1\n", "line 2: expected BEIR's three"),
        ("q1\t\t1\n", "line 1: expected query-id"),
        ("q1 d1 1\n", "line 1: expected BEIR's three"),
        ("q1 0 d1 1\nq1 0 d2 muito\n", "line 2: relevance 'muito'"),
        ("q1 0 d1 1.5\n", "line 1: relevance '1.5'"),
        ("q1 0 d1 1_0\n", "line 1: relevance '1_0'"),
        ("q1 0 d1 ١\n", "line 1: relevance '١'"),
        ("q1 0 d1 1099511627776\n", "line 1: relevance 1099511627776 is beyond 1,000,000"),
        (f"q1 0 d1 {'9' * 5000}\n", "line 1: relevance '9+' is not"),
        ("qid\td1\t1.5\n", "line 1: relevance '1.5'"),
        ("q1 0 d1 1\nq2 0 d1 1\nq1 0 d1 2\n", "line 3: document 'd1' is judged again"),
        ("q1 0 d1 1 6\n", "line 1: expected BEIR's three"),
        ("query-id\tcorpus-id\tscore\n", "no judgment"),
        ("", "is empty"),
        ("\n \n", "is empty"),
    ],
)
def test_broken_qrels_name_file_and_line(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "ruim.tsv").write_text(content)
    with pytest.raises(InputFileError, match=r"ruim\.tsv.*" + what):
        read_qrels(tmp_path / "ruim.tsv")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("q1 Q0 d1 1 0.5\n", "line 1: 5 columns"),
        ("q1 Q0 d1 1 0.5 x\nq1 Q0 d2 2 alto x\n", "line 2: score 'alto'"),
        ("q1 Q0 d1 1 nan x\n", "line 1: score 'nan'"),
        ("q1 Q0 d1 1 1_0.5 x\n", "line 1: score '1_0.5'"),
        ("q1 Q0 d1 1 ١.٥ x\n", "line 1: score"),
        ("q1 Q0 d1 1 1e999 x\n", "line 1: score '1e999'"),
        ("q1 Q0 d1 1 inf x\n", "line 1: score 'inf'"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 1 x\n", "line 2: duplicate document id 'd1'"),
        ("", "is empty"),
    ],
)
def test_broken_runs_name_file_and_line(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "ruim.run").write_text(content)
    with pytest.raises(InputFileError, match=r"ruim\.run.*" + what):
        read_run(tmp_path / "ruim.run")


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes("q1 0 ação 1\n".encode("latin-1"))
    (tmp_path / "cortado.gz").write_bytes(gzip.compress(b"q1 0 d1 1\n" * 100)[:-12])
    (tmp_path / "zstd.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    (tmp_path / "utf16").write_bytes("q1 0 d1 1\n".encode("utf-16"))
    for name, what in (
        ("latin1", "not UTF-8"),
        ("cortado.gz", "cannot be read"),
        ("zstd.zst", "packed as zstd"),
        ("utf16", "UTF-16"),
        ("nada", "no such file"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(InputFileError, match=what) as caught:
            read_qrels(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(InputFileError, match="is a folder"):
        read_qrels(tmp_path)


def test_a_line_without_end_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 100)
    (tmp_path / "run.gz").write_bytes(gzip.compress(b"q Q0 d 1 1.0 x\nq Q0 " + b"d" * 10_000 + b" 2 0.5 x\n"))
    with pytest.raises(InputFileError, match=r"line 2: the line has more than"):
        read_run(tmp_path / "run.gz")


def test_a_query_may_have_a_title_alone(tmp_path: Path) -> None:
    lines = ['{"_id": "1", "title": "vacina", "text": ""}', '{"_id": "2", "title": "", "text": "multa"}']
    lines += ['{"_id": "3", "title": "iptu", "text": "prazo"}', '{"_id": "4", "title": "bolo", "text": "  "}']
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    assert read_queries(tmp_path / "q.jsonl") == {"1": "vacina", "2": "multa", "3": "iptu prazo", "4": "bolo"}


content = st.binary(max_size=60) | st.lists(
    st.sampled_from([*"q1 \t\r\n\x85\xa0\ufeff{}[],\"':;_-.+eE0١\ud83d\0", "nan", "_id", "text", "query-id", "\r\n", "q1 0 d1 1", "1.5"]),
    max_size=30,
).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=content, packed=st.booleans(), cut=st.integers(0, 30), name=st.sampled_from(["a.jsonl", "a.csv", "a.tsv", "a"]))
def test_no_content_ends_in_anything_but_an_input_file_error(tmp_path: Path, content: bytes, packed: bool, cut: int, name: str) -> None:
    packing = gzip.compress(content, mtime=0)
    (tmp_path / name).write_bytes(packing[: len(packing) - cut] if packed else content)
    for read in (read_run, read_qrels, read_queries):
        try:
            read(tmp_path / name)
        except InputFileError as error:
            assert "\n" not in str(error) and str(error).encode()


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("antes")
    with pytest.raises(ZeroDivisionError), atomic_writer(tmp_path / "run") as file:
        file.write("metade")
        raise ZeroDivisionError
    assert (tmp_path / "run").read_text() == "antes"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_places_that_cannot_be_written_to_say_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "sem-pasta" / "run"):
        with pytest.raises(InputFileError):
            write_run(path, {"q": {"d": 1.0}})


def test_a_full_disk_says_so_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "run").write_text("antes")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputFileError, match="No space left"):
        write_run(tmp_path / "run", {"q": {"d": 1.0}})
    assert (tmp_path / "run").read_text() == "antes"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cano")
    with ThreadPoolExecutor() as pool:
        reader = pool.submit((tmp_path / "cano").read_text)
        write_run(tmp_path / "cano", {"q": {"d": 1.0}})
        assert reader.result(10) == "q Q0 d 1 1.0 splade-ptbr\n"
    assert (tmp_path / "cano").is_fifo()


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "alvo").write_text("antes")
    (tmp_path / "link").symlink_to("alvo")
    write_run(tmp_path / "link", {"q": {"d": 1.0}})
    assert (tmp_path / "link").is_symlink() and (tmp_path / "alvo").read_text().startswith("q Q0 d")
