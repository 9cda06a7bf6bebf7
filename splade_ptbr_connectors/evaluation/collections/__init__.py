"""Test collections by name: `open_collection(name)`.

name              what it is
FOLDER            BEIR's layout: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/SPLIT.tsv[.gz]
beir:FOLDER       the same, where the folder is called like another kind
mrobust           mRobust04, Portuguese: news articles, 250 topics, judgments graded 0, 1, 2
mmarco            mMARCO, Portuguese: passages, the queries of dev.small
ir_datasets:ID    a dataset of the library ir_datasets, as ir_datasets:mmarco/v2/pt/dev/small
text:FOLDER       paragraphs of *.txt[.gz], queries of another collection, nothing judged: speed and size alone

Where they come from, and their licences as far as known:

mrobust           dataset unicamp-dl/mrobust of the Hugging Face hub; arXiv 2209.13738, which is CC BY 4.0; the dataset's card names no
                  other licence. Its articles are those of TREC disks 4 and 5, which NIST distributes for research under an agreement.
mmarco            dataset unicamp-dl/mmarco of the Hugging Face hub; arXiv 2108.13897; its card's text names no licence. Its passages
                  are those of MS MARCO, which Microsoft distributes for non-commercial research.
ir_datasets       each has its own: https://ir-datasets.com

Relative paths start at `data_dir`. Judged collections are read to their end once when they are opened, so that nothing broken,
missing or duplicate shows up after hours of encoding. What their figures depend on is in `Collection.notes`.

    >>> from splade_ptbr_connectors.evaluation.collections import collection_in_memory
    >>> collection = collection_in_memory("mine", {"d1": "imposto de renda", "d2": "mar"}, {"q1": "imposto"}, {"q1": {"d1": 1}})
    >>> list(collection.documents()), collection.queries, collection.counts.queries
    ([('d1', 'imposto de renda'), ('d2', 'mar')], {'q1': 'imposto'}, 1)

`collection_from_files` takes three files in any layout, `read_beir` a folder with all its splits into memory.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from ...errors import ConfigError
from .assembly import Sample, collection_in_memory
from .beir import BeirFolder, read_beir
from .collection import Collection, CollectionCounts, JudgedCollection
from .files import collection_from_files

__all__ = [
    "KINDS",
    "BeirFolder",
    "Collection",
    "CollectionCounts",
    "JudgedCollection",
    "Options",
    "Sample",
    "collection_from_files",
    "collection_in_memory",
    "open_collection",
    "read_beir",
]

KINDS = {"beir": "beir:FOLDER", "mrobust": "mrobust", "mmarco": "mmarco", "ir_datasets": "ir_datasets:ID", "text": "text:FOLDER"}
"""Kind, which is the module too -> how it is written."""


class Options(TypedDict, total=False):
    """What else a kind takes; one that it does not take is an error.

    folder: mrobust, mmarco: local files instead of the hub's, by the names that LOCAL of their modules lists.
    topic_field: mrobust: which field of topics in TREC's markup is the query.
    keep_without_relevant: all but text: judged queries without a relevant document count as 0 instead of not at all.
    queries_from: text: a BEIR folder or a file of queries; max_queries: how many of them, 250 by default.
    """

    folder: str | Path
    topic_field: Literal["title", "description"]
    keep_without_relevant: bool
    queries_from: str | Path
    max_queries: int


def open_collection(name: str, *, split: str | None = None, data_dir: str | Path = Path(), **options: Unpack[Options]) -> Collection:
    """A collection, see above.

    Args:
        split: which judgments; by default the only ones, or `test`.
        data_dir: where relative paths start.

    Raises:
        ConfigError: no such kind, dataset or split, or an option that the kind does not take.
        InputFileError: naming file and line where there is one: something is missing, broken, empty or duplicate; a judged query
            without a text; no query with a relevant document in the collection.
    """
    kind, where = _kind(name, Path(data_dir))
    opener: Callable[..., Collection] = importlib.import_module(f"{__name__}.{kind}").open_kind
    given = {**options} if split is None else {**options, "split": split}
    accepted = [each.name for each in inspect.signature(opener).parameters.values() if each.kind is each.KEYWORD_ONLY]
    unknown = [option for option in given if option not in accepted]
    if unknown:
        raise ConfigError(f"a collection {KINDS[kind]!r} takes no {unknown[0]}; it takes {', '.join(accepted)}.")
    return opener(where, Path(data_dir).expanduser(), **given)


def _kind(name: str, data_dir: Path) -> tuple[str, str]:
    """(kind, what stands behind the colon); a name without a kind is a BEIR folder."""
    kind, colon, where = name.partition(":")
    if kind in KINDS and bool(where) == (":" in KINDS[kind]) == bool(colon):
        return kind, where
    if kind not in KINDS and name and (data_dir / Path(name).expanduser()).is_dir():
        return "beir", name
    folders = [path.parent.name for path in data_dir.glob("*/corpus.jsonl*")] if data_dir.is_dir() else []
    near = difflib.get_close_matches(kind, [*KINDS, *folders], n=1)
    meant = f" Did you mean {KINDS.get(near[0], near[0])!r}?" if near else ""
    raise ConfigError(f"no collection {name!r}: it must be a BEIR folder (in {data_dir}) or one of {', '.join(KINDS.values())}.{meant}")
