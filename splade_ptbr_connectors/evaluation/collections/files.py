"""A collection of three files, each in any layout that is in use: MS MARCO (TSV), BEIR (JSONL), TREC qrels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..qrels import read_qrels
from .assembly import WHOLE, Documents, Judgments, Sample, assemble
from .collection import JudgedCollection
from .locations import find_file, in_folder
from .texts import numbered_documents, read_query_texts


def collection_from_files(
    name: str,
    *,
    documents: str | Path,
    queries: str | Path,
    qrels: str | Path,
    data_dir: Path = Path(),
    sample: Sample = WHOLE,
) -> JudgedCollection:
    """Read and check three files; documents stay in theirs unless they are sampled.

    Args:
        documents, queries: `id<TAB>text` without a header; JSONL, CSV or TSV with "_id" and "text"; or the BEIR folder that holds
            corpus.jsonl and queries.jsonl; also .gz.
        qrels: BEIR's or TREC's judgments.
        data_dir: what paths are relative to. "hub:owner/name/path/in/it" is a file of a dataset repository of the Hugging Face
            hub, downloaded once.

    Raises:
        ConfigError: a hub file that is not named as above.
        InputFileError: a file is missing or empty, a line is broken, an id comes twice, judgments name unknown queries or no
            relevant document, or none of the relevant documents is in the collection.
    """
    queries_path = in_folder(find_file(str(queries), data_dir=data_dir), "queries.jsonl")
    qrels_path = find_file(str(qrels), data_dir=data_dir)
    judgments = Judgments(read_query_texts(queries_path), read_qrels(qrels_path), str(qrels_path), str(queries_path))
    corpus = in_folder(find_file(str(documents), data_dir=data_dir), "corpus.jsonl")
    return assemble(name, Documents(str(corpus), partial(numbered_documents, corpus)), judgments, sample=sample)
