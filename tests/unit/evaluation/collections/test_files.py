"""Collections of three files: every layout gives the same collection, samples keep what is judged, and bad files are named."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import huggingface_hub
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError
from splade_ptbr_connectors.evaluation.collections import (
    JudgedCollection,
    Sample,
    assembly,
    collection_from_files,
    collection_in_memory,
    texts,
)
from splade_ptbr_connectors.evaluation.collections.locations import find_file

DOCUMENTS = {f"d{number}": f"documento {number} sobre imposto, com acento é\u2028 e\ttabulação" for number in range(8)}
QUERIES = {"q1": "imposto de renda", "q2": "oceano", "q3": "escola", "672": "sem documento relevante", "extra": "não julgada"}
QRELS = {
    "q1": {"d1": 2, "d2": 1, "d3": 0, "absent": 1, "absent0": 0},
    "q2": {"d4": 1},
    "q3": {"d5": 1, "d1": 1},
    "672": {"d1": 0, "d2": 0},
}


@dataclass(frozen=True)
class ThreeFiles:
    """Names of the files of a collection, and how much of it is drawn."""

    documents: str = "collection.tsv"
    queries: str = "queries.tsv"
    qrels: str = "qrels.trec"
    sample_documents: int | None = None
    sample_queries: int | None = None


FILES = ThreeFiles()


def opened(files: ThreeFiles, *, data_dir: Path, seed: int = 1) -> JudgedCollection:
    sample = Sample(files.sample_documents, files.sample_queries, seed)
    paths = {"documents": files.documents, "queries": files.queries, "qrels": files.qrels}
    return collection_from_files("toy", **paths, data_dir=data_dir, sample=sample)  # type: ignore[arg-type]


def tsv(rows: dict[str, str]) -> str:
    return "".join(f"{name}\t{text}\n" for name, text in rows.items())


def jsonl(rows: dict[str, str]) -> str:
    return "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in rows.items())


def judgments(separator: str, middle: str, header: str = "") -> str:
    lines = [
        f"{query}{separator}{middle}{document}{separator}{grade}\n" for query, judged in QRELS.items() for document, grade in judged.items()
    ]
    return header + "".join(lines)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "collection.tsv").write_text(tsv(DOCUMENTS), encoding="utf-8")
    (folder / "windows.tsv").write_bytes(tsv(DOCUMENTS).replace("\n", "\r\n").encode("utf-8-sig"))
    (folder / "collection.tsv.gz").write_bytes(gzip.compress(tsv(DOCUMENTS).encode()))
    (folder / "queries.tsv").write_text(tsv(QUERIES), encoding="utf-8")
    (folder / "headed.tsv").write_text("_id\ttext\n" + tsv(QUERIES), encoding="utf-8")
    (folder / "qrels.trec").write_text(judgments(" ", "0 "), encoding="utf-8")
    (folder / "qrels.dev.tsv").write_text(judgments("\t", "0\t"), encoding="utf-8")
    (folder / "beir" / "qrels").mkdir(parents=True)
    (folder / "beir" / "corpus.jsonl").write_text(jsonl(DOCUMENTS), encoding="utf-8")
    (folder / "beir" / "queries.jsonl").write_text(jsonl(QUERIES), encoding="utf-8")
    (folder / "beir" / "qrels" / "dev.tsv").write_text(judgments("\t", "", "query-id\tcorpus-id\tscore\n"), encoding="utf-8")
    (folder / "packed").mkdir()
    (folder / "packed" / "corpus.jsonl.gz").write_bytes(gzip.compress(jsonl(DOCUMENTS).encode()))
    return folder


@pytest.mark.parametrize(
    "files",
    [
        FILES,
        ThreeFiles("collection.tsv.gz", "headed.tsv", "qrels.dev.tsv"),
        ThreeFiles("windows.tsv", "queries.tsv", "qrels.trec"),
        ThreeFiles("beir", "beir", "beir/qrels/dev.tsv"),
        ThreeFiles("packed", "beir/queries.jsonl", "qrels.trec"),
        replace(FILES, sample_documents=1000, sample_queries=1000),
    ],
    ids=["ms-marco", "gzip-and-header", "windows", "beir", "beir-gzip", "samples-larger-than-the-collection"],
)
def test_every_layout_gives_the_same_collection(data_dir: Path, files: ThreeFiles) -> None:
    collection = opened(files, data_dir=data_dir, seed=1)
    assert dict(collection.documents()) == dict(collection.documents()) == DOCUMENTS
    assert list(collection.queries) == list(collection.qrels) == ["q1", "q2", "q3"]
    assert collection.qrels["q1"] == QRELS["q1"]
    assert collection == opened(FILES, data_dir=data_dir, seed=2)


def test_both_denominators_and_what_is_missing_are_reported(data_dir: Path) -> None:
    counts = opened(FILES, data_dir=data_dir, seed=1).counts
    assert counts.to_dict() == {
        "documents": 8,
        "collection_documents": 8,
        "blank_documents": 0,
        "queries": 3,
        "judged_queries": 4,
        "without_relevant": 1,
        "missing_documents": 2,
        "missing_relevant": 1,
    }
    assert "3 of 4 judged queries (1 have no relevant document)" in counts.describe()
    assert "2 judged documents (1 relevant) are not in the collection" in counts.describe()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), documents=st.integers(1, 9), queries=st.integers(1, 4))
def test_a_sample_keeps_every_judged_document_and_has_the_size_asked_for(data_dir: Path, seed: int, documents: int, queries: int) -> None:
    files = replace(FILES, sample_documents=documents, sample_queries=queries)
    collection = opened(files, data_dir=data_dir, seed=seed)
    kept = dict(collection.documents())
    judged = {doc_id for grades in collection.qrels.values() for doc_id in grades} & DOCUMENTS.keys()
    assert judged <= kept.keys()
    assert len(kept) == len(judged) + min(documents, len(DOCUMENTS) - len(judged)) == collection.counts.documents
    assert kept.items() <= DOCUMENTS.items()
    assert list(kept) == [doc_id for doc_id in DOCUMENTS if doc_id in kept]
    assert len(collection.queries) == min(queries, 3) == collection.counts.queries
    assert collection.queries.keys() == collection.qrels.keys()
    assert collection == opened(files, data_dir=data_dir, seed=seed)
    assert collection.counts.collection_documents == 8


def test_other_seeds_give_other_samples(data_dir: Path) -> None:
    files = replace(FILES, sample_documents=1, sample_queries=1)
    assert len({opened(files, data_dir=data_dir, seed=seed).sha256 for seed in range(20)}) > 3


def test_identity_changes_with_every_part(data_dir: Path, tmp_path: Path) -> None:
    original = opened(FILES, data_dir=data_dir, seed=1).sha256
    for name, text in [
        ("collection.tsv", tsv(DOCUMENTS | {"d7": "outro"})),
        ("queries.tsv", tsv(QUERIES | {"q2": "mar"})),
        ("qrels.trec", judgments(" ", "0 ").replace("d4 1", "d4 2")),
    ]:
        for source in ("collection.tsv", "queries.tsv", "qrels.trec"):
            (tmp_path / source).write_bytes((data_dir / source).read_bytes())
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert opened(FILES, data_dir=tmp_path, seed=1).sha256 != original


def test_a_collection_in_memory_is_the_same_as_its_files(data_dir: Path) -> None:
    collection = opened(FILES, data_dir=data_dir, seed=1)
    assert collection_in_memory("toy", DOCUMENTS, QUERIES, QRELS) == collection
    again = collection_in_memory("toy", dict(collection.documents()), collection.queries, collection.qrels)
    assert again.qrels == collection.qrels


def test_documents_are_read_one_by_one(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = opened(FILES, data_dir=data_dir, seed=1)
    read = []

    def watched(path: Path) -> object:
        for number, line in lines(path):
            read.append(number)
            yield number, line

    lines = texts.read_lines
    monkeypatch.setattr(texts, "read_lines", watched)
    documents = collection.documents()
    read.clear()
    next(documents)
    assert len(read) <= 2  # the first line tells the layout, then is read


def test_ids_whose_hashes_are_equal_by_chance_are_no_repetition(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "hash", lambda _: 7, raising=False)
    assert opened(FILES, data_dir=data_dir, seed=1).counts.documents == 8


def test_a_blank_document_is_counted_and_a_blank_query_is_an_error(data_dir: Path, tmp_path: Path) -> None:
    for name in ("queries.tsv", "qrels.trec"):
        (tmp_path / name).write_bytes((data_dir / name).read_bytes())
    (tmp_path / "collection.tsv").write_text(tsv(DOCUMENTS) + "blank\t\nspaces\t  \n", encoding="utf-8")
    collection = opened(FILES, data_dir=tmp_path, seed=1)
    assert (collection.counts.blank_documents, collection.counts.documents) == (2, 10)
    (tmp_path / "queries.tsv").write_text(tsv(QUERIES | {"q2": " "}), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"queries\.tsv, line 2: query 'q2' has no text"):
        opened(FILES, data_dir=tmp_path, seed=1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("collection.tsv", "d1\tum\nd2 dois\n", r"collection\.tsv, line 2: expected an id, a tab and a text"),
        ("collection.tsv", "d1\tum\n\n\tsem id\n", r"collection\.tsv, line 3: expected an id"),
        ("collection.tsv", "d1\tum\nd2\tum\n\nd1\tdois\n", r"collection\.tsv, line 4: duplicate document id 'd1'"),
        ("collection.tsv", "d1\tum\0\n", r"collection\.tsv, line 1: text has a NUL"),
        ("collection.tsv", "x\tum\n", "none of the 5 relevant documents is in it"),
        ("collection.tsv", "\n", "is empty"),
        ("queries.tsv", "q1\tum\nq1\tdois\n", r"queries\.tsv, line 2: duplicate query id 'q1'"),
        ("queries.tsv", "q1\tum\n", r"3 of 4 judged queries have no text in .*queries\.tsv \(first: 'q2'\)"),
        ("qrels.trec", "q1 0 d1 1\nq1 0 d2\n", r"qrels\.trec, line 2: expected"),
        ("qrels.trec", "q1 0 d1 0\n672 0 d1 -1\n", "none of its 2 queries has a relevant document"),
        ("qrels.trec", "", "is empty"),
    ],
)
def test_a_bad_file_is_named_with_its_line(data_dir: Path, tmp_path: Path, name: str, content: str, message: str) -> None:
    for source in ("collection.tsv", "queries.tsv", "qrels.trec"):
        (tmp_path / source).write_bytes((data_dir / source).read_bytes())
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        opened(FILES, data_dir=tmp_path, seed=1)


def test_bad_records_are_named_with_their_line(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "um"}\n{"_id": "d2"}\n', encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text('{"_id": "d1", "text": "um"}\n{"_id"\n', encoding="utf-8")
    for name, message in [("", r"corpus\.jsonl, line 2: no \"text\""), ("broken.jsonl", r"broken\.jsonl, line 2: not JSON")]:
        files = replace(FILES, documents=str(tmp_path / name))
        with pytest.raises(InputFileError, match=message):
            opened(files, data_dir=data_dir, seed=1)


@pytest.mark.parametrize("part", ["documents", "queries", "qrels"])
def test_a_missing_file_is_named(data_dir: Path, part: str) -> None:
    with pytest.raises(InputFileError, match=r"no such file: .*nowhere\.tsv"):
        opened(replace(FILES, **{part: "nowhere.tsv"}), data_dir=data_dir, seed=1)


def test_a_folder_without_a_corpus_is_no_collection(data_dir: Path) -> None:
    with pytest.raises(InputFileError, match=r"no such file: .*corpus\.jsonl"):
        opened(replace(FILES, documents="beir/qrels"), data_dir=data_dir, seed=1)


@pytest.mark.parametrize("key", ["sample_documents", "sample_queries"])
def test_a_sample_of_nothing_is_refused(data_dir: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"a sample of 0 {key.removeprefix('sample_')} is asked for"):
        opened(replace(FILES, **{key: 0}), data_dir=data_dir, seed=1)


def test_a_collection_that_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="toy: none of its 1 queries has a relevant document"):
        collection_in_memory("toy", DOCUMENTS, QUERIES, {"672": {"d1": 0}})
    with pytest.raises(InputError, match="toy: none of the 1 relevant documents is in it"):
        collection_in_memory("toy", DOCUMENTS, QUERIES, {"q1": {"absent": 1}})
    with pytest.raises(InputError, match="1 of 1 judged queries have no text"):
        collection_in_memory("toy", DOCUMENTS, {}, {"q1": {"d1": 1}})


# -- hub ----------------------------------------------------------------------------------------------------------------


def test_files_of_the_hub_are_fetched_once_named_and_read_like_any_other(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repo_id: str, filename: str, *, repo_type: str) -> str:
        asked.append((repo_id, filename, repo_type))
        return str(data_dir / Path(filename).name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    files = replace(FILES, documents="hub:unicamp-dl/mmarco/data/google/collections/collection.tsv")
    assert opened(files, data_dir=Path("elsewhere") / data_dir, seed=1) == opened(FILES, data_dir=data_dir, seed=1)
    assert asked == [("unicamp-dl/mmarco", "data/google/collections/collection.tsv", "dataset")]


def test_a_hub_that_gives_nothing_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(InputFileError, match=r"'a/b\.tsv' of the dataset 'owner/name' \(ConnectionError: no route\)"):
        find_file("hub:owner/name/a/b.tsv", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["hub:", "hub:owner", "hub:owner/name", "hub:owner/name/", "hub: owner/name/x"])
def test_a_hub_name_without_owner_name_and_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="hub:owner/name/path"):
        find_file(name, data_dir=tmp_path)
