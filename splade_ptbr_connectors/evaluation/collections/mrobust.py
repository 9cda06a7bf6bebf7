"""mRobust04 (arXiv 2209.13738): TREC Robust 2004, machine-translated; its Portuguese part.

528,032 documents and 250 topics (card of the model AxelPCG/splade-pt-br). Documents keep the <P> marks of the originals. A topic is one
text, a translation of TREC's description, not of its title. Judgments are TREC's for the English documents: graded 0, 1 and 2, some of
documents that were not translated; topic 672 has no relevant document, so that 249 queries count, 250 with `keep_without_relevant`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..qrels import read_qrels
from .assembly import Documents, Judgments, assemble
from .collection import JudgedCollection
from .locations import Files, hub_files, local_files
from .texts import numbered_documents, read_query_texts
from .topics import is_sgml, read_topics

DATASET = "unicamp-dl/mrobust"
ON_HUB = {
    "documents": "data/collections/portuguese_collection.tsv",
    "queries": "data/queries/portuguese_queries.tsv",
    "qrels": "qrels.robust04.txt",
}
LOCAL = {
    "documents": (ON_HUB["documents"], "portuguese_collection.tsv", "collection.tsv", "corpus.tsv", "corpus.jsonl"),
    "queries": (ON_HUB["queries"], "portuguese_queries.tsv", "queries.tsv", "queries.jsonl", "topics*.txt", "topics*.tsv", "04.testset"),
    "qrels": (ON_HUB["qrels"], "qrels.robust2004.txt", "qrels*.txt", "qrels*.tsv", "qrels/*.tsv"),
}


def open_kind(
    where: str, data_dir: Path, *, folder: str | Path | None = None, topic_field: str = "title", keep_without_relevant: bool = False
) -> JudgedCollection:
    """From the hub, or from a local folder with files of the names in LOCAL.

    Args:
        topic_field: "title" or "description", for topics in TREC's markup; topics of other files are one text.
    """
    files = hub_files(DATASET, **ON_HUB) if folder is None else local_files(data_dir / Path(folder).expanduser(), LOCAL)
    queries, note = _queries(files, topic_field)
    return assemble(
        "mrobust",
        Documents(str(files.documents), partial(numbered_documents, files.documents)),
        Judgments(queries, read_qrels(files.qrels), str(files.qrels), str(files.queries)),
        keep_without_relevant=keep_without_relevant,
        notes=(files.origin, *note),
    )


def _queries(files: Files, topic_field: str) -> tuple[dict[str, str], tuple[str, ...]]:
    if not is_sgml(files.queries):
        return read_query_texts(files.queries), ()
    return read_topics(files.queries, topic_field), (f"Queries are the field {topic_field!r} of the topics.",)
