"""Bad input: every error says what, where and what to do, in one line."""

from __future__ import annotations

import builtins
import gzip
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import huggingface_hub
import ir_datasets
import pytest

from splade_ptbr_connectors.errors import ConfigError, InputFileError, SpladeConnectorsError
from splade_ptbr_connectors.evaluation.collections import mmarco, mrobust, open_collection
from tests.unit.evaluation.collections.writing import EXAMPLE, FILLED, NAMES, Small, write, write_beir, write_tsv

Change = Callable[[Path], object]


def refused(name: str, error: type[SpladeConnectorsError] = InputFileError, **options: Any) -> str:
    """The one-line message of the refusal."""
    with pytest.raises(error) as raised:
        open_collection(name, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def replace(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        write(folder / name, text.replace(old, new))

    return change


BEIR: dict[str, tuple[Change, str]] = {
    "no corpus": (lambda f: (f / "corpus.jsonl").unlink(), "no such file: {f}/corpus.jsonl"),
    "no queries": (lambda f: (f / "queries.jsonl").unlink(), "no such file: {f}/queries.jsonl"),
    "no qrels": (lambda f: (f / "qrels/test.tsv").unlink(), "{f} has no judgments: looked for qrels/*.tsv and qrels/*.tsv.gz."),
    "empty corpus": (lambda f: write(f / "corpus.jsonl", ""), "{f}/corpus.jsonl is empty"),
    "blank corpus": (lambda f: write(f / "corpus.jsonl", "\n\n"), "{f}/corpus.jsonl holds no records"),
    "broken line": (replace("corpus.jsonl", '{"_id": "d2"', '{"_id" "d2"'), "{f}/corpus.jsonl, line 2: not JSON"),
    "no text": (replace("corpus.jsonl", '"text": "vacina"', '"txt": "vacina"'), '{f}/corpus.jsonl, line 2: no "text"'),
    "id twice": (replace("corpus.jsonl", '"d2"', '"d1"'), "{f}/corpus.jsonl, line 2: duplicate document id 'd1'."),
    "query twice": (replace("queries.jsonl", '"302"', '"301"'), "{f}/queries.jsonl, line 3: duplicate query id '301'."),
    "query without text": (
        lambda f: write(f / "queries.jsonl", '{"_id": "302", "text": "vacina"}\n'),
        "{f}/qrels/test.tsv: 2 of 3 judged queries have no text in {f}/queries.jsonl (first: '301')",
    ),
    "header only": (lambda f: write(f / "qrels/test.tsv", "query-id\tcorpus-id\tscore\n"), "there is a header, but no judgment below it"),
    "broken judgment": (
        replace("qrels/test.tsv", "301\td1\t1", "301\td1\tyes"),
        "{f}/qrels/test.tsv, line 4: relevance 'yes' is not an integer",
    ),
    "nothing relevant": (
        lambda f: write(f / "qrels/test.tsv", "query-id\tcorpus-id\tscore\n672\td1\t0\n301\td1\t-1\n"),
        "{f}/qrels/test.tsv: none of its 2 queries has a relevant document",
    ),
    "another collection": (
        lambda f: write(f / "qrels/test.tsv", "query-id\tcorpus-id\tscore\n301\tx1\t1\n302\tx2\t1\n301\td1\t0\n"),
        "{f}/corpus.jsonl: none of the 2 relevant documents is in it: is it another collection?",
    ),
    "not UTF-8": (
        lambda f: append(f / "corpus.jsonl", '{"_id": "d4", "text": "é"}'.encode("latin-1")),
        "{f}/corpus.jsonl, line 4: not UTF-8",
    ),
    "queries not UTF-8": (lambda f: append(f / "queries.jsonl", b'{"_id": "\xff"}'), "{f}/queries.jsonl, line 5: not UTF-8"),
    "qrels not UTF-8": (lambda f: append(f / "qrels/test.tsv", b"\xff\n"), "{f}/qrels/test.tsv is not UTF-8"),
}


def append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


@pytest.mark.parametrize("case", BEIR)
def test_a_bad_beir_folder(tmp_path: Path, case: str) -> None:
    change, message = BEIR[case]
    change(write_beir(tmp_path, FILLED))
    assert message.format(f=tmp_path) in refused(str(tmp_path))


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["beir", "mrobust", "text"])
def test_a_gzip_that_ends_early(tmp_path: Path, kind: str, kept: float) -> None:
    options: dict[str, Any]
    many = Small({f"d{n}": ("", f"texto {n * 7919 % 1000}") for n in range(2000)}, {"q": "texto"}, {"q": {"d0": 1}})
    if kind == "beir":
        path, options = write_beir(tmp_path, many, suffix=".gz") / "corpus.jsonl.gz", {"name": str(tmp_path)}
    elif kind == "mrobust":
        path = write_tsv(tmp_path, many, NAMES["mrobust"][1]) / "collection.tsv.gz"
        options = {"name": "mrobust", "folder": str(tmp_path)}
    else:
        path = write(tmp_path / "a.txt.gz", "\n".join(text for _, text in many.contents()))
        write(tmp_path / "q.tsv", "q\ttexto\n")
        options = {"name": f"text:{tmp_path}", "queries_from": str(tmp_path / "q.tsv")}
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputFileError) as error:
        list(open_collection(**options).documents())
    assert str(path) in str(error.value)
    path.write_bytes(whole)
    assert sum(1 for _ in open_collection(**options).documents()) == 2000


def test_no_such_folder(tmp_path: Path) -> None:
    gone, file = str(tmp_path / "gone"), str(write(tmp_path / "file", "x"))
    asked: list[dict[str, Any]] = [
        {"name": f"beir:{gone}"},
        {"name": "mrobust", "folder": gone},
        {"name": f"text:{gone}", "queries_from": gone},
    ]
    for options in asked:
        assert refused(**options) == f"no such folder: {gone}."
    assert "is a file: name the folder it is in" in refused("mmarco", folder=file)
    assert refused(file, ConfigError).startswith(f"no collection {file!r}: it must be a BEIR folder")


# -- mRobust and mMARCO ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "names"), [("mrobust", mrobust.LOCAL), ("mmarco", mmarco.LOCAL)])
@pytest.mark.parametrize("part", ["documents", "queries", "qrels"])
def test_a_part_that_is_missing_says_which_names_were_looked_for(tmp_path: Path, kind: str, names: dict[str, Any], part: str) -> None:
    (write_tsv(tmp_path, EXAMPLE, NAMES[kind][0]) / NAMES[kind][0][part]).unlink()
    message = refused(kind, folder=tmp_path)
    assert f"has no file with the {part}: looked for" in message
    assert all(name in message for name in names[part])


@pytest.mark.parametrize(("kind", "names"), [("mrobust", mrobust.LOCAL), ("mmarco", mmarco.LOCAL)])
def test_every_name_that_is_listed_is_found(tmp_path: Path, kind: str, names: dict[str, tuple[str, ...]]) -> None:
    for part, patterns in names.items():
        for number, pattern in enumerate(name for name in patterns if not name.endswith("jsonl")):
            layout = {**NAMES[kind][0], part: pattern.replace("*", "-any-") + (".gz" if number % 2 else "")}
            folder = write_tsv(tmp_path / part / str(number), EXAMPLE, layout)
            assert list(open_collection(kind, folder=folder).queries) == ["302", "301"]


def test_two_files_for_one_part_are_not_chosen_from(tmp_path: Path) -> None:
    write_tsv(tmp_path, EXAMPLE, NAMES["mrobust"][0])
    write(tmp_path / "qrels.robust04.txt.gz", "301 0 d1 1\n")
    assert "has 2 files for the qrels: qrels.robust04.txt, qrels.robust04.txt.gz: leave one" in refused("mrobust", folder=tmp_path)


TSV: dict[str, tuple[str, bytes, str]] = {
    "no tab": ("documents", b"d9 sem tab\n", "line 4: expected an id, a tab and a text, got 'd9 sem tab'"),
    "no id": ("documents", b"\ttexto\n", "line 4: expected an id"),
    "id twice": ("documents", b"d9\tum\nd2\toutro\n", "line 5: duplicate document id 'd2'."),
    "long id": ("documents", b"d" * 600 + b"\ttexto\n", "line 4: document id 'ddd"),
    "NUL": ("documents", b"d9\tum\0\n", "line 4: text has a NUL"),
    "not UTF-8": ("documents", b"d9\t\xe9\n", "is not UTF-8 text"),
    "blank query": ("queries", b"999\t \n", "line 5: query '999' has no text"),
    "query twice": ("queries", b"301\toutra\n", "line 5: duplicate query id '301'"),
    "three columns": ("qrels", b"301 0 d1\n", "line 7: expected BEIR's three columns between tabs or TREC's four"),
    "judged twice": ("qrels", b"301 0 d1 0\n", "line 7: document 'd1' is judged again for query '301'"),
    "unknown query": ("qrels", b"999 0 d1 1\n", "1 of 4 judged queries have no text in"),
}


@pytest.mark.parametrize("case", TSV)
@pytest.mark.parametrize("kind", ["mrobust", "mmarco"])
def test_a_line_that_is_broken(tmp_path: Path, kind: str, case: str) -> None:
    part, line, message = TSV[case]
    path = write_tsv(tmp_path, EXAMPLE, NAMES[kind][0]) / NAMES[kind][0][part]
    append(path, line)
    said = refused(kind, folder=tmp_path)
    assert message in said
    assert said.startswith(str(path))


@pytest.mark.parametrize("kind", ["mrobust", "mmarco"])
def test_an_empty_file(tmp_path: Path, kind: str) -> None:
    for part, name in NAMES[kind][0].items():
        write(write_tsv(tmp_path / part, EXAMPLE, NAMES[kind][0]) / name, "\n")
        assert refused(kind, folder=tmp_path / part) == f"{tmp_path / part / name} is empty."


# -- the hub --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "module"), [("mrobust", mrobust), ("mmarco", mmarco)])
def test_files_of_the_hub_are_read_like_local_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: Any) -> None:
    cache = write_tsv(tmp_path / "snapshots/0123abc", EXAMPLE, NAMES[kind][0])
    asked = []

    def download(repo_id: str, filename: str, *, repo_type: str) -> str:
        asked.append((repo_id, filename, repo_type))
        return str(cache / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    collection, local = open_collection(kind), open_collection(kind, folder=cache)
    assert (collection.queries, collection.qrels) == (local.queries, local.qrels)
    assert list(collection.documents()) == EXAMPLE.contents()
    assert sorted(asked) == sorted((f"unicamp-dl/{kind}", name, "dataset") for name in module.ON_HUB.values())
    assert asked[-1][1] == module.ON_HUB["documents"], "the large file is fetched last"
    assert f"Read from the dataset unicamp-dl/{kind} at 0123abc on the Hugging Face hub" in collection.notes[0]
    assert collection.notes[1:] == local.notes[1:]


def test_a_hub_that_gives_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert "'data/queries/portuguese_queries.tsv' of the dataset 'unicamp-dl/mrobust' (ConnectionError: no route)" in refused("mrobust")


# -- ir_datasets ----------------------------------------------------------------------------------------------------------


def local_dataset(folder: Path, **left_out: None) -> ir_datasets.Dataset:
    names = {"docs_tsv": "docs", "queries_tsv": "queries", "qrels_trec": "qrels"}
    return ir_datasets.create_dataset(**{part: folder / name for part, name in names.items()} | left_out)


@pytest.fixture
def dataset_files(tmp_path: Path) -> Path:
    return write_tsv(tmp_path, EXAMPLE, {"documents": "docs", "queries": "queries", "qrels": "qrels"})


def refused_dataset(folder: Path, error: type[SpladeConnectorsError] = InputFileError, **left_out: None) -> str:
    with mock.patch.object(ir_datasets, "load", {"mine": local_dataset(folder, **left_out)}.__getitem__):
        return refused("ir_datasets:mine", error)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("docs", b"d9 sem tab\n", "dataset 'mine', document 4 cannot be read: RuntimeError: expected 2 fields, got 1."),
        ("docs", b"d2\toutro\n", "dataset 'mine', document 4: duplicate document id 'd2'."),
        ("docs", b"d9\tum\0\n", "dataset 'mine', document 4: text has a NUL"),
        ("docs", b" \tum\n", "dataset 'mine', document 4: document id is blank"),
        ("queries", b"301\toutra\n", "dataset 'mine', query 5: duplicate query id '301'."),
        ("queries", b"999\t \n", "dataset 'mine', query 5: query '999' has no text."),
        ("qrels", b"301 0 d1 0\n", "dataset 'mine', judgment 7: document 'd1' is judged again for query '301'"),
        ("qrels", b"999 0 d1 1\n", "qrels of 'mine': 1 of 4 judged queries have no text in queries of 'mine' (first: '999')"),
        ("qrels", b"301 0 d1\n", "dataset 'mine', judgment 7 cannot be read"),
        ("qrels", b"301 0 d9 1099511627776\n", "qrels of 'mine': the relevance of document 'd9' is beyond 1,000,000"),
    ],
)
def test_a_bad_dataset(dataset_files: Path, name: str, line: bytes, message: str) -> None:
    append(dataset_files / name, line)
    assert message in refused_dataset(dataset_files)


def test_a_dataset_with_a_part_missing(dataset_files: Path) -> None:
    assert "'mine' of ir_datasets has no qrels: name a subset" in refused_dataset(dataset_files, ConfigError, qrels_trec=None)
    assert "has no docs and no queries" in refused_dataset(dataset_files, ConfigError, docs_tsv=None, queries_tsv=None)
    for name, message in (("qrels", "has no judgment"), ("docs", "holds no document"), ("queries", "3 of 3 judged queries have no text")):
        whole = (dataset_files / name).read_bytes()
        write(dataset_files / name, "")
        assert message in refused_dataset(dataset_files)
        (dataset_files / name).write_bytes(whole)


def test_a_dataset_that_ir_datasets_does_not_have() -> None:
    assert "ir_datasets has no dataset 'no-such-thing': `ir_datasets list`" in refused("ir_datasets:no-such-thing", ConfigError)


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == "ir_datasets":
            raise ModuleNotFoundError("No module named 'ir_datasets'", name="ir_datasets")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    assert "pip install ir-datasets" in refused("ir_datasets:mine", ConfigError)


def test_other_kinds_do_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        assert name != "ir_datasets"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert open_collection("mrobust", folder=write_tsv(tmp_path, EXAMPLE, NAMES["mrobust"][0])).queries


# -- text -----------------------------------------------------------------------------------------------------------------


def test_bad_texts(tmp_path: Path) -> None:
    write(tmp_path / "q.tsv", "q\ttexto\n")
    (tmp_path / "text").mkdir()
    options: dict[str, Any] = {"queries_from": "q.tsv", "data_dir": tmp_path}
    assert "has no text: looked for *.txt and *.txt.gz" in refused("text:text", **options)
    for data, message in (
        (b"um\ndois\0\n", "a.txt, line 2: text has a NUL"),
        (b"\xe9\n", "a.txt is not UTF-8"),
        (b"\n \n", "a.txt is empty"),
    ):
        (tmp_path / "text/a.txt").write_bytes(data)
        documents = open_collection("text:text", **options).documents()
        with pytest.raises(InputFileError) as error:
            list(documents)
        assert message in str(error.value)
    assert "no such file" in refused("text:text", queries_from="gone.tsv", data_dir=tmp_path)
    (tmp_path / "text/a.txt").unlink()
    (tmp_path / "text/a.txt.gz").write_bytes(gzip.compress(b"um")[:-9])
    with pytest.raises(InputFileError, match=r"a\.txt\.gz cannot be read"):
        list(open_collection("text:text", **options).documents())
