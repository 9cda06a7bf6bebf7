"""BEIR's layout: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/SPLIT.tsv[.gz] (arXiv 2104.08663)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...errors import ConfigError, InputError, InputFileError
from ..files import bad_line
from ..qrels import Qrels, read_qrels
from ..queries import read_kinds, read_queries
from .assembly import Documents, Judgments, assemble, collection_in_memory
from .collection import JudgedCollection
from .locations import existing_folder, in_folder
from .texts import numbered_documents

DEFAULT_SPLIT = "test"


def open_kind(where: str, data_dir: Path, *, split: str | None = None, keep_without_relevant: bool = False) -> JudgedCollection:
    """The split of a folder; without one the only split, or `test`."""
    folder = existing_folder(data_dir / Path(where).expanduser())
    splits = splits_of(folder)
    qrels_path = splits[_chosen(folder, sorted(splits), split)]
    corpus, queries_path = in_folder(folder, "corpus.jsonl"), in_folder(folder, "queries.jsonl")
    judged = assemble(
        f"{folder.resolve().name}:{_split_name(qrels_path)}",
        Documents(str(corpus), partial(numbered_documents, corpus)),
        Judgments(read_queries(queries_path), read_qrels(qrels_path), str(qrels_path), str(queries_path)),
        keep_without_relevant=keep_without_relevant,
    )
    return replace(judged, kinds=read_kinds(queries_path))


def splits_of(folder: Path) -> dict[str, Path]:
    """Split -> file of its judgments. Raises InputFileError: there are none."""
    files = sorted([*(folder / "qrels").glob("*.tsv"), *(folder / "qrels").glob("*.tsv.gz")])
    if not files:
        raise InputFileError(f"{folder} has no judgments: looked for qrels/*.tsv and qrels/*.tsv.gz.")
    return {_split_name(path): path for path in files}


def folders_with_split(data_dir: Path, split: str) -> list[Path]:
    """The BEIR folders of a data folder that have the split, by name. Raises InputError: there is none."""
    folders = sorted({path.parent.parent for path in data_dir.glob("*/qrels/*") if _split_name(path) == split})
    if not folders:
        raise InputError(f"no folder in {data_dir} has qrels/{split}.tsv: name the folder of the collections and one of their splits.")
    return folders


def _split_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".tsv")


def _chosen(folder: Path, splits: list[str], split: str | None) -> str:
    if split is None and (len(splits) == 1 or DEFAULT_SPLIT in splits):
        return splits[0] if len(splits) == 1 else DEFAULT_SPLIT
    if split in splits:
        return str(split)
    wrong = "name the split to measure" if split is None else f"no split {split!r}"
    raise ConfigError(f"{folder}: {wrong}; it has {', '.join(splits)}.")


# -- in memory ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BeirFolder:
    """A whole folder in memory.

    Attributes:
        documents: document id -> title, space, text; queries: query id -> text.
        qrels: split -> its judgments.
        kinds: query id -> kind, of queries that say so.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, Qrels]
    kinds: dict[str, str] = field(default_factory=dict)

    def split(self, name: str) -> JudgedCollection:
        """The collection with the queries of one split. Raises ConfigError: no such split."""
        if name not in self.qrels:
            raise ConfigError(f"{self.name} has no split {name!r}; it has {', '.join(self.qrels)}")
        judged = collection_in_memory(f"{self.name}:{name}", self.documents, self.queries_of(name), self.qrels[name])
        return replace(judged, kinds=self.kinds)

    def queries_of(self, split: str) -> dict[str, str]:
        """Query id -> text of the queries that a split judges."""
        return {query_id: self.queries[query_id] for query_id in self.qrels[split]}


def read_beir(folder: Path) -> BeirFolder:
    """A folder with all its splits.

    Raises:
        InputFileError: no such folder, or naming file and line: a broken line, an id twice, a judged query without text.
    """
    if not folder.is_dir():
        raise InputFileError(f"no such folder: {folder} (is the data folder right?)")
    documents = _documents(in_folder(folder, "corpus.jsonl"))
    queries_path = in_folder(folder, "queries.jsonl")
    queries = read_queries(queries_path)
    qrels = {path.stem: _qrels(path, queries) for path in sorted((folder / "qrels").glob("*.tsv"))}
    return BeirFolder(folder.name, documents, queries, qrels, read_kinds(queries_path))


def _documents(path: Path) -> dict[str, str]:
    documents: dict[str, str] = {}
    for number, doc_id, text in numbered_documents(path):
        if doc_id in documents:
            bad_line(path, number, f"duplicate document id {doc_id!r}.")
        documents[doc_id] = text.strip()
    return documents


def _qrels(path: Path, queries: Mapping[str, str]) -> Qrels:
    qrels = read_qrels(path)
    unknown = [query_id for query_id in qrels if query_id not in queries]
    if unknown:
        raise InputFileError(f"{path}: {len(unknown)} of {len(qrels)} judged queries have no text (first: {unknown[0]!r}).")
    return qrels
