"""mMARCO (arXiv 2108.13897): MS MARCO's passages, machine-translated; its Portuguese part, in Google's translation.

8,841,823 passages; results are published for dev.small, 6,980 queries (README of the repository unicamp-dl/mMARCO).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...errors import ConfigError
from ..qrels import read_qrels
from .assembly import Documents, Judgments, assemble
from .collection import JudgedCollection
from .locations import hub_files, local_files
from .texts import numbered_documents, read_query_texts

DATASET = "unicamp-dl/mmarco"
SPLITS = ("dev.small",)
ON_HUB = {
    "documents": "data/google/collections/portuguese_collection.tsv",
    "queries": "data/google/queries/dev/portuguese_queries.dev.small.tsv",
    "qrels": "data/qrels.dev.small.tsv",
}
LOCAL = {
    "documents": (ON_HUB["documents"], "portuguese_collection.tsv", "collection.tsv"),
    "queries": (ON_HUB["queries"], "portuguese_queries.dev.small.tsv", "queries.dev.small.tsv", "portuguese_queries.dev.tsv"),
    "qrels": (ON_HUB["qrels"], "qrels.dev.small.tsv"),
}


def open_kind(
    where: str, data_dir: Path, *, split: str | None = None, folder: str | Path | None = None, keep_without_relevant: bool = False
) -> JudgedCollection:
    """From the hub, or from a local folder with files of the names in LOCAL."""
    if split not in (None, *SPLITS):
        raise ConfigError(f"mmarco: no split {split!r}; it has {', '.join(SPLITS)}.")
    files = hub_files(DATASET, **ON_HUB) if folder is None else local_files(data_dir / Path(folder).expanduser(), LOCAL)
    return assemble(
        f"mmarco:{split or SPLITS[0]}",
        Documents(str(files.documents), partial(numbered_documents, files.documents)),
        Judgments(read_query_texts(files.queries), read_qrels(files.qrels), str(files.qrels), str(files.queries)),
        keep_without_relevant=keep_without_relevant,
        notes=(files.origin,),
    )
