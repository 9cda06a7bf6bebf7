"""What a format holds is what is read: random collections, written in every format."""

from __future__ import annotations

import doctest
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import ir_datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation import collections
from splade_ptbr_connectors.evaluation.collections import Collection, open_collection, read_beir
from tests.unit.evaluation.collections.writing import EXAMPLE, FILLED, LINE, NAMES, Small, small_collections, write, write_beir, write_tsv


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def assert_is(collection: Collection, small: Small, *, keep: bool = False) -> None:
    """Ids, texts, judgments, their order, and the same stream again."""
    assert list(collection.documents()) == small.contents()
    assert list(collection.documents()) == small.contents()
    measured = small.measured(keep=keep)
    assert list(collection.queries.items()) == [(query_id, small.queries[query_id]) for query_id in measured]
    assert collection.qrels == {query_id: small.qrels[query_id] for query_id in measured}
    assert list(collection.qrels) == measured


@given(small_collections(titles=True), st.sampled_from(["", ".gz"]), st.booleans())
def test_a_beir_folder_is_read_as_it_was_written(small: Small, suffix: str, keep: bool) -> None:
    with folder() as data:
        write_beir(data / "set", small, suffix=suffix)
        collection = open_collection("set", data_dir=data, keep_without_relevant=keep)
        assert collection.name == "set:test"
        assert_is(collection, small, keep=keep)
        assert_is(open_collection(f"beir:{data / 'set'}", keep_without_relevant=keep), small, keep=keep)


@given(small_collections(titles=True))
def test_a_beir_folder_in_memory_is_the_same(small: Small) -> None:
    with folder() as data:
        write_beir(data, small)
        collection, other = open_collection(str(data), keep_without_relevant=True), read_beir(data)
        assert {doc_id: content.strip() for doc_id, content in collection.documents()} == other.documents
        assert collection.qrels == other.qrels["test"]
        assert all(other.queries[query_id] == text for query_id, text in collection.queries.items())


@pytest.mark.parametrize("kind", ["mrobust", "mmarco"])
@given(small=small_collections(), layout=st.integers(0, 1), keep=st.booleans())
def test_published_files_are_read_as_they_were_written(kind: str, small: Small, layout: int, keep: bool) -> None:
    with folder() as data:
        write_tsv(data, small, NAMES[kind][layout])
        assert_is(open_collection(kind, folder=data, keep_without_relevant=keep), small, keep=keep)


def local_dataset(data: Path, small: Small) -> ir_datasets.Dataset:
    """A dataset made of the library's own readers."""
    write_tsv(data, small, {"documents": "docs.tsv", "queries": "queries.tsv", "qrels": "qrels"})
    return ir_datasets.create_dataset(data / "docs.tsv", data / "queries.tsv", data / "qrels")


@given(small=small_collections(), keep=st.booleans())
def test_ir_datasets_gives_what_its_files_hold(small: Small, keep: bool) -> None:
    with folder() as data, mock.patch.object(ir_datasets, "load", {"mine/dev": local_dataset(data, small)}.__getitem__):
        collection = open_collection("ir_datasets:mine/dev", keep_without_relevant=keep)
        assert collection.name == "mine/dev"
        assert_is(collection, small, keep=keep)


@given(small_collections())
def test_ir_datasets_reads_files_of_mrobust_as_we_do(small: Small) -> None:
    with folder() as data, mock.patch.object(ir_datasets, "load", {"x": local_dataset(data, small)}.__getitem__):
        theirs = open_collection("ir_datasets:x")
        ours = open_collection("mrobust", folder=write_tsv(data / "mrobust", small, NAMES["mrobust"][0]))
        assert list(theirs.documents()) == list(ours.documents())
        assert (theirs.queries, theirs.qrels) == (ours.queries, ours.qrels)


TEXT = st.dictionaries(
    st.sampled_from(["a.txt", "b.txt.gz", "a.txt.gz", "ç d.txt"]),
    st.lists(LINE, min_size=1).filter(lambda lines: any(map(str.strip, lines))),
)


@given(TEXT.filter(bool), st.integers(1, 8), small_collections())
def test_paragraphs_are_the_lines_that_are_not_blank(files: dict[str, list[str]], queries: int, small: Small) -> None:
    with folder() as data:
        for name, lines in files.items():
            write(data / "text" / name, "\n".join(lines))
        write_beir(data / "asked", small)
        collection = open_collection("text:text", data_dir=data, queries_from="asked", max_queries=queries)
        expected = [
            (f"{name}:{n}", line) for name in sorted(files) for n, line in enumerate("\n".join(files[name]).split("\n"), 1) if line.strip()
        ]
        assert list(collection.documents()) == expected
        assert list(collection.documents()) == expected
        assert len(dict(expected)) == len(expected)
        assert list(collection.queries.items()) == list(small.queries.items())[:queries]
        assert not collection.qrels


def test_queries_of_texts_are_250_if_nothing_else_is_said(tmp_path: Path) -> None:
    write(tmp_path / "text/a.txt", "um\n\ndois\n")
    write(tmp_path / "many.tsv", "".join(f"q{n}\tpergunta {n}\n" for n in range(300)))
    collection = open_collection("text:text", data_dir=tmp_path, queries_from="many.tsv")
    assert list(collection.queries) == [f"q{n}" for n in range(250)]
    assert list(collection.documents()) == [("a.txt:1", "um"), ("a.txt:3", "dois")]
    assert collection.notes[1] == "Queries are the first 250 of 300 of many.tsv."


def test_two_streams_of_one_collection_do_not_disturb_each_other(tmp_path: Path) -> None:
    collection = open_collection("mmarco", folder=write_tsv(tmp_path, EXAMPLE, NAMES["mmarco"][0]))
    one, other = collection.documents(), collection.documents()
    assert [next(one), next(one), next(other)] == [*EXAMPLE.contents()[:2], EXAMPLE.contents()[0]]
    assert [*other] == EXAMPLE.contents()[1:]


def test_documents_are_streamed(tmp_path: Path) -> None:
    """Reading the first documents does not read the file to its end: a line broken after opening is met only when it is reached."""
    path = write_tsv(tmp_path, EXAMPLE, NAMES["mmarco"][1]) / "collection.tsv"
    write(path, "".join(f"d{n}\ttexto {n}\n" for n in range(50_000)))
    collection = open_collection("mmarco", folder=tmp_path)
    with open(path, "a", encoding="utf-8") as file:
        file.write("sem tabulação\n")
    documents = collection.documents()
    assert next(documents) == ("d0", "texto 0")
    with pytest.raises(InputFileError, match=r"collection\.tsv, line 50001"):
        list(documents)


# -- splits and names -----------------------------------------------------------------------------------------------------


def test_the_split_is_the_only_one_or_test_or_the_one_asked_for(tmp_path: Path) -> None:
    write_beir(tmp_path / "set", FILLED, split="dev")
    assert open_collection("set", data_dir=tmp_path).name == "set:dev"
    write_beir(tmp_path / "set", Small(FILLED.documents, FILLED.queries, {"301": {"d1": 1}}), split="train")
    with pytest.raises(ConfigError, match="name the split to measure; it has dev, train"):
        open_collection("set", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="no split 'test'; it has dev, train"):
        open_collection("set", data_dir=tmp_path, split="test")
    assert open_collection("set", data_dir=tmp_path, split="train").qrels == {"301": {"d1": 1}}
    write_beir(tmp_path / "set", FILLED, split="test")
    assert open_collection("set", data_dir=tmp_path).name == "set:test"


def test_a_folder_called_like_a_kind_is_reached_by_its_prefix(tmp_path: Path) -> None:
    write_beir(tmp_path / "mmarco", FILLED)
    assert open_collection("beir:mmarco", data_dir=tmp_path).name == "mmarco:test"


def test_mmarco_has_one_split(tmp_path: Path) -> None:
    write_tsv(tmp_path, EXAMPLE, NAMES["mmarco"][0])
    assert (
        open_collection("mmarco", folder=tmp_path, split="dev.small").name
        == open_collection("mmarco", folder=tmp_path).name
        == "mmarco:dev.small"
    )
    with pytest.raises(ConfigError, match=r"no split 'test'; it has dev\.small"):
        open_collection("mmarco", folder=tmp_path, split="test")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mrobbust", "Did you mean 'mrobust'"),
        ("docs-fac", "Did you mean 'docs-faq'"),
        ("text:", "Did you mean 'text:FOLDER'"),
        ("ir_datasets", "Did you mean 'ir_datasets:ID'"),
        ("mmarco:dev", "Did you mean 'mmarco'"),
        ("", "beir:FOLDER, mrobust, mmarco, ir_datasets:ID, text:FOLDER"),
        ("nowhere/at/all", "must be a BEIR folder"),
    ],
)
def test_an_unknown_name_lists_the_kinds_and_the_nearest(tmp_path: Path, name: str, said: str) -> None:
    write_beir(tmp_path / "docs-faq", FILLED)
    with pytest.raises(ConfigError) as error:
        open_collection(name, data_dir=tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mrobust", {"split": "test"}, "'mrobust' takes no split; it takes folder, topic_field, keep_without_relevant"),
        ("set", {"folder": "x"}, "'beir:FOLDER' takes no folder; it takes split, keep_without_relevant"),
        ("text:set", {"split": "test"}, "takes no split; it takes queries_from, max_queries"),
        ("ir_datasets:x", {"spilt": "test"}, "takes no spilt; it takes keep_without_relevant"),
        ("text:set", {}, "pass queries_from="),
        ("text:set", {"queries_from": "set", "max_queries": 0}, "max_queries is 0: it must be at least 1"),
    ],
)
def test_an_option_that_a_kind_does_not_take_is_an_error(tmp_path: Path, name: str, options: dict[str, object], said: str) -> None:
    write_beir(tmp_path / "set", FILLED)
    with pytest.raises(ConfigError) as error:
        open_collection(name, data_dir=tmp_path, **options)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_the_example_of_the_documentation_works() -> None:
    assert doctest.testmod(collections) == doctest.TestResults(failed=0, attempted=3)
