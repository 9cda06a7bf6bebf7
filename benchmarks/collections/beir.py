"""BEIR's layout: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/SPLIT.tsv (arXiv 2104.08663)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.collections.base import Collection
from benchmarks.collections.checked import Documents, Judgments, checked_collection
from benchmarks.collections.local import existing_folder
from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.qrels import read_qrels
from splade_ptbr_connectors.evaluation.queries import read_queries
from training.data.records import in_folder, numbered_documents

DEFAULT_SPLIT = "test"


def open_kind(where: str, data_dir: Path, *, split: str | None = None, keep_without_relevant: bool = False) -> Collection:
    """The split of a folder; without one the only split, or `test`."""
    folder = existing_folder(data_dir / Path(where).expanduser())
    splits = splits_of(folder)
    qrels_path = splits[_chosen(folder, sorted(splits), split)]
    corpus, queries_path = in_folder(folder, "corpus.jsonl"), in_folder(folder, "queries.jsonl")
    return checked_collection(
        f"{folder.resolve().name}:{_split_name(qrels_path)}",
        Documents(str(corpus), partial(numbered_documents, corpus)),
        Judgments(read_queries(queries_path), read_qrels(qrels_path), str(qrels_path), str(queries_path)),
        keep_without_relevant=keep_without_relevant,
    )


def splits_of(folder: Path) -> dict[str, Path]:
    """Split -> file of its judgments. Raises InputFileError: there are none."""
    files = sorted([*(folder / "qrels").glob("*.tsv"), *(folder / "qrels").glob("*.tsv.gz")])
    if not files:
        raise InputFileError(f"{folder} has no judgments: looked for qrels/*.tsv and qrels/*.tsv.gz.")
    return {_split_name(path): path for path in files}


def _split_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".tsv")


def _chosen(folder: Path, splits: list[str], split: str | None) -> str:
    if split is None and (len(splits) == 1 or DEFAULT_SPLIT in splits):
        return splits[0] if len(splits) == 1 else DEFAULT_SPLIT
    if split in splits:
        return str(split)
    wrong = "name the split to measure" if split is None else f"no split {split!r}"
    raise ConfigError(f"{folder}: {wrong}; it has {', '.join(splits)}.")
