"""Judged collections in files: MS MARCO (TSV), BEIR (JSONL) and TREC qrels, whole or sampled, documents as a stream."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError
from splade_ptbr_connectors.evaluation.files import bad_line
from splade_ptbr_connectors.evaluation.qrels import Qrels, read_qrels
from training.data.collections import Evaluation
from training.data.records import in_folder, numbered_documents, read_documents, read_query_texts
from training.recipe.sections import JudgedFiles

HUB = "hub:"
_HUB_FILE = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>.+)")


@dataclass(frozen=True)
class JudgedCounts:
    """What a collection holds and which denominators its measures have.

    Attributes:
        documents: documents that are searched (after sampling).
        collection_documents: documents of the file.
        blank_documents: searched documents without a visible character: nothing can find them.
        queries: queries that are measured, the denominator of every mean: judged, with a relevant document (after sampling).
        judged_queries: all queries of the judgments. Those without a relevant document, as topic 672 of Robust04, are left
            out of `queries`: they score 0 whatever is found.
        missing_documents: judged documents of the measured queries that the collection does not have. They stay in the
            judgments, as trec_eval has them: no search can find them, an ideal ranking has them.
        missing_relevant: those of them that are relevant.
    """

    documents: int
    collection_documents: int
    blank_documents: int
    queries: int
    judged_queries: int
    without_relevant: int
    missing_documents: int
    missing_relevant: int

    def describe(self) -> str:
        """One sentence for logs and cards."""
        missing = f"{self.missing_documents:,} judged documents ({self.missing_relevant:,} relevant) are not in the collection"
        return (
            f"means over {self.queries:,} of {self.judged_queries:,} judged queries ({self.without_relevant:,} have no relevant document); "
            f"{self.documents:,} of {self.collection_documents:,} documents searched; {missing}, and stay in the judgments"
        )

    def to_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class JudgedCollection:
    """Queries with judgments, and documents that can be read again and again without being held in memory.

    Attributes:
        name: of the collection.
        queries: query id -> text; each has a relevant document.
        qrels: judgments of exactly these queries.
        counts: sizes and denominators.
        sha256: identity of documents, queries and judgments.
    """

    name: str
    queries: dict[str, str]
    qrels: Qrels
    counts: JudgedCounts
    sha256: str
    read_documents: Callable[[], Iterable[tuple[str, str]]] = field(repr=False, compare=False)

    def documents(self) -> Iterator[tuple[str, str]]:
        """(doc_id, text) in the order of the collection, from its beginning."""
        return iter(self.read_documents())

    def evaluation(self) -> Evaluation:
        """The same with its documents in memory."""
        return Evaluation(self.name, dict(self.documents()), dict(self.queries), self.qrels)


def judged_collection(files: JudgedFiles, *, data_dir: Path, seed: int) -> JudgedCollection:
    """Read and check what a recipe names; documents stay in their file unless they are sampled.

    Paths are relative to `data_dir`. "hub:owner/name/path/in/it" is a file of a dataset repository of the Hugging Face hub,
    downloaded once. Judgments are BEIR's or TREC's. Texts are `id<TAB>text` without a header, or JSONL, CSV or TSV with
    "_id" and "text", or the BEIR folder that holds corpus.jsonl and queries.jsonl; also .gz.

    Raises:
        ConfigError: a sample below 1, or a hub file that is not named as above.
        InputFileError: a file is missing or empty, a line is broken, an id is there twice, judgments name unknown queries or
            no relevant document, or none of the relevant documents is in the collection.
    """
    _check_samples(files)
    texts, judged = _queries_and_judgments(files, data_dir)
    relevant = _with_relevant(judged)
    used = _sampled_queries(relevant, files.sample_queries, seed)
    queries = {query_id: texts[query_id] for query_id in used}
    path = in_folder(find_file(files.collection, data_dir=data_dir), "corpus.jsonl")
    scan = _scan(path, used)
    numbers = _Numbers(scan.count, len(judged), len(judged) - len(relevant))
    if files.sample_documents is not None:
        return _in_memory(files.name, _sampled_documents(path, scan, files.sample_documents, seed), queries, used, numbers)
    counts = _counts(numbers, used, scan.found, documents=scan.count, blank=scan.blank)
    return JudgedCollection(files.name, queries, used, counts, _identity(queries, used, scan.sha256), lambda: read_documents(path))


def collection_of(evaluation: Evaluation) -> JudgedCollection:
    """A collection that is in memory already.

    Raises:
        InputError: no query has a relevant document, or a judged query has no text.
    """
    relevant = _with_relevant(evaluation.qrels)
    without = [query_id for query_id in relevant if query_id not in evaluation.queries]
    if without:
        raise InputError(f"{evaluation.name}: {len(without)} judged queries have no text (first: {without[0]!r}).")
    if not _relevant_documents(relevant) & evaluation.documents.keys():
        raise InputError(f"{evaluation.name}: no query has a relevant document in the collection, so nothing can be measured.")
    queries = {query_id: evaluation.queries[query_id] for query_id in relevant}
    numbers = _Numbers(len(evaluation.documents), len(evaluation.qrels), len(evaluation.qrels) - len(relevant))
    return _in_memory(evaluation.name, evaluation.documents, queries, relevant, numbers)


# -- files ------------------------------------------------------------------------------------------------------------


def find_file(name: str, *, data_dir: Path) -> Path:
    """The path of a file that a recipe names; a file of the hub is downloaded.

    Raises:
        ConfigError: it starts with "hub:" and is no "hub:owner/name/path".
        InputFileError: nothing there, or the hub did not give it.
    """
    if name.startswith(HUB):
        return _download(name)
    path = data_dir / Path(name).expanduser()
    if not path.exists():
        raise InputFileError(f"no such file: {path} (is the data folder right?).")
    return path


def _download(name: str) -> Path:
    parts = _HUB_FILE.fullmatch(name)
    if parts is None:
        raise ConfigError(f"{name!r} names no file of the hub: write hub:owner/name/path/of/the/file.")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(parts["repo"], parts["file"], repo_type="dataset"))
    except Exception as error:  # the hub client raises many unrelated types (HTTP, validation, offline, OS)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputFileError(
            f"the hub did not give {parts['file']!r} of the dataset {parts['repo']!r} ({type(error).__name__}: {reason:.200}): "
            "check the name and the connection, or download the file and name its path."
        ) from error


# -- queries and judgments ----------------------------------------------------------------------------------------------


def _check_samples(files: JudgedFiles) -> None:
    for key in ("sample_documents", "sample_queries"):
        value = getattr(files, key)
        if value is not None and value < 1:
            raise ConfigError(f"{key} of {files.name!r} is {value}: it must be at least 1; leave it out to take everything.")


def _queries_and_judgments(files: JudgedFiles, data_dir: Path) -> tuple[dict[str, str], Qrels]:
    path = in_folder(find_file(files.queries, data_dir=data_dir), "queries.jsonl")
    qrels_path = find_file(files.qrels, data_dir=data_dir)
    queries, judged = read_query_texts(path), read_qrels(qrels_path)
    unknown = [query_id for query_id in judged if query_id not in queries]
    if unknown:
        raise InputFileError(
            f"{qrels_path}: {len(unknown)} of {len(judged)} judged queries are not in {path} "
            f"(first: {unknown[0]!r}): name the query file that belongs to these judgments."
        )
    if not _relevant_documents(judged):
        raise InputFileError(f"{qrels_path}: none of its {len(judged)} queries has a relevant document, so nothing can be measured.")
    return queries, judged


def _with_relevant(judged: Mapping[str, Mapping[str, int]]) -> Qrels:
    return {query_id: dict(grades) for query_id, grades in judged.items() if any(grade > 0 for grade in grades.values())}


def _relevant_documents(qrels: Qrels) -> set[str]:
    return {doc_id for grades in qrels.values() for doc_id, grade in grades.items() if grade > 0}


def _judged_documents(qrels: Qrels) -> set[str]:
    return {doc_id for grades in qrels.values() for doc_id in grades}


def _sampled_queries(qrels: Qrels, size: int | None, seed: int) -> Qrels:
    """`size` queries in their order; all of them when there are not more."""
    if size is None or size >= len(qrels):
        return qrels
    ids = list(qrels)
    drawn = np.random.default_rng([seed, 0]).choice(len(ids), size=size, replace=False)
    return {ids[place]: qrels[ids[place]] for place in sorted(drawn.tolist())}


# -- documents ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    """What one pass over a collection tells. `found`: judged documents that are there."""

    count: int
    blank: int
    found: set[str]
    sha256: str


@dataclass(frozen=True)
class _Numbers:
    """Counts that sampling does not change."""

    collection_documents: int
    judged_queries: int
    without_relevant: int


def _scan(path: Path, qrels: Qrels) -> _Scan:
    """Read a collection to its end, holding 8 bytes a document.

    Raises InputFileError for an id that is there twice, and where no relevant document is found.
    """
    judged = _judged_documents(qrels)
    found: set[str] = set()
    hashes, digest, blank = array("q"), hashlib.sha256(), 0
    for doc_id, text in read_documents(path):
        hashes.append(hash(doc_id))
        digest.update(_document_bytes(doc_id, text))
        blank += not text.strip()
        if doc_id in judged:
            found.add(doc_id)
    _check_repeated(path, hashes)
    relevant = _relevant_documents(qrels)
    if not found & relevant:
        raise InputFileError(f"{path}: none of the {len(relevant)} relevant documents is in it: is it another collection?")
    return _Scan(len(hashes), blank, found, digest.hexdigest())


def _check_repeated(path: Path, hashes: array[int]) -> None:
    """Two equal hashes may be chance: only then are the ids themselves compared, in a second pass."""
    values, times = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    suspect = set(values[times > 1].tolist())
    seen: set[str] = set()
    for number, doc_id, _ in numbered_documents(path) if suspect else ():
        if hash(doc_id) in suspect:
            if doc_id in seen:
                bad_line(path, number, f"document {doc_id!r} is there twice.")
            seen.add(doc_id)


def _sampled_documents(path: Path, scan: _Scan, size: int, seed: int) -> dict[str, str]:
    """The judged documents and `size` others in the order of the collection; all when there are not more."""
    others = scan.count - len(scan.found)
    taken = np.zeros(others, dtype=np.bool_)
    taken[np.random.default_rng([seed, 1]).choice(others, size=min(size, others), replace=False)] = True
    turn = iter(taken.tolist())
    return {doc_id: text for doc_id, text in read_documents(path) if doc_id in scan.found or next(turn)}


def _in_memory(name: str, documents: Mapping[str, str], queries: dict[str, str], qrels: Qrels, numbers: _Numbers) -> JudgedCollection:
    digest, blank = hashlib.sha256(), 0
    for doc_id, text in documents.items():
        digest.update(_document_bytes(doc_id, text))
        blank += not text.strip()
    counts = _counts(numbers, qrels, documents, documents=len(documents), blank=blank)
    return JudgedCollection(name, queries, qrels, counts, _identity(queries, qrels, digest.hexdigest()), lambda: documents.items())


def _counts(numbers: _Numbers, qrels: Qrels, found: Collection[str], *, documents: int, blank: int) -> JudgedCounts:
    return JudgedCounts(
        documents=documents,
        collection_documents=numbers.collection_documents,
        blank_documents=blank,
        queries=len(qrels),
        judged_queries=numbers.judged_queries,
        without_relevant=numbers.without_relevant,
        missing_documents=sum(doc_id not in found for doc_id in _judged_documents(qrels)),
        missing_relevant=sum(doc_id not in found for doc_id in _relevant_documents(qrels)),
    )


def _identity(queries: dict[str, str], qrels: Qrels, documents_sha256: str) -> str:
    return hashlib.sha256(json.dumps([queries, qrels, documents_sha256]).encode()).hexdigest()


def _document_bytes(doc_id: str, text: str) -> bytes:
    """What is hashed of a document: lengths first, so that no two collections give the same bytes."""
    return f"{len(doc_id)} {len(text)} {doc_id}{text}".encode("utf-8", "surrogatepass")
