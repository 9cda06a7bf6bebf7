"""Judgment, run and query files: what is written is read back, what is broken names file and line."""

from __future__ import annotations

import errno
import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.files import atomic_writer
from splade_ptbr_connectors.evaluation.qrels import read_qrels, write_qrels
from splade_ptbr_connectors.evaluation.runs import read_run, write_run

ids = st.text(st.characters(categories=["L", "N"], include_characters="-_.:/#"), min_size=1, max_size=12)
scores = st.floats(min_value=0.0, max_value=1e6, allow_nan=False)
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


def test_a_run_is_written_in_trecs_six_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"q1": {"d2": 2.5, "d1": 0.1}}, tag="x")
    assert (tmp_path / "run").read_text() == "q1 Q0 d2 1 2.5 x\nq1 Q0 d1 2 0.1 x\n"


@pytest.mark.parametrize("bad", ["com espaço", "", "a\tb"])
def test_ids_that_a_run_file_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path, bad: str) -> None:
    for run, tag in (({bad: {"d": 1.0}}, "x"), ({"q": {bad: 1.0}}, "x"), ({"q": {"d": 1.0}}, bad)):
        with pytest.raises(ConfigError, match="white space"):
            write_run(tmp_path / "run", run, tag=tag)
    assert list(tmp_path.iterdir()) == []


def test_qrels_of_both_layouts_mean_the_same(tmp_path: Path) -> None:
    expected = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}
    (tmp_path / "beir.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n\nq2\td1\t1\n")
    (tmp_path / "trec").write_text("q1 0 d1 2\nq1\t0\td2\t0\nq2 Q0 d1 1\r\n")
    (tmp_path / "no-header.tsv").write_text("q1\td1\t2\nq1\td2\t0\nq2\td1\t1\n")
    (tmp_path / "bom.tsv.gz").write_bytes(gzip.compress("\ufeffquery-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n".encode()))
    for name in ("beir.tsv", "trec", "no-header.tsv", "bom.tsv.gz"):
        assert read_qrels(tmp_path / name) == expected, name


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
        ("q1 Q0 d1 1 inf x\n", "line 1: score 'inf'"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 1 x\n", "line 2: document 'd1' is there twice"),
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
    (tmp_path / "falso.gz").write_bytes(b"q1 0 d1 1\n")
    for name, what in (("latin1", "not UTF-8"), ("cortado.gz", "cannot be read"), ("falso.gz", "cannot be read"), ("nada", "no such file")):
        with pytest.raises(InputFileError, match=f"{name}.*{what}"):
            read_qrels(tmp_path / name)
    with pytest.raises(InputFileError, match="is a folder"):
        read_qrels(tmp_path)


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
