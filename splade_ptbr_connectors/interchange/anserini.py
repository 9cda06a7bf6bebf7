"""Anserini and Pyserini: JsonVectorCollection files and impact queries, with weights as integers.

Anserini repeats each token as often as its impact says and indexes that with `-impact -pretokenized`: tokens are separated by
white space, so one that holds any cannot be written.
https://github.com/castorini/anserini, src/main/java/io/anserini/collection/JsonVectorCollection.java
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import InputFileError, RecordError, VectorError
from ..evaluation.files import bad_line, read_lines
from ..records import EncodedRecord
from .files import json_objects, located, record_of, vector_field, writing
from .vector_encoding import MAX_IMPACT, Impacts, TermArray, VectorEncoding, WriteCounts, text_of

SUFFIXES = (".json", ".jsonl", ".gz")  # what Anserini takes from a folder
PART = "part-{:05d}.jsonl"

Quantised = tuple[EncodedRecord, TermArray, Impacts]


def vector_files(path: Path) -> list[Path]:
    """The files of a collection: the file itself, or those of a folder in the order of their names."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise InputFileError(f"{path} holds no file that ends in {', '.join(SUFFIXES)}: name the folder of the vectors.")
    return files


def read_vectors(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """{"id", "contents", "vector": {token: impact}} lines of a file, or of all files of a folder; .gz is unpacked."""
    for file in vector_files(path):
        for where, raw in json_objects(file):
            with located(where):
                vector = vector_field(raw)
                impacts = [_impact(name, value) for name, value in vector.items()]
                yield record_of(raw, encoding.restore(encoding.terms.ids(vector), impacts), "contents")


def _impact(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_IMPACT:
        raise VectorError(f"the weight of {name[:60]!r} is {str(value)[:40]}: Anserini's weights are integers from 1 to {MAX_IMPACT}.")
    return value


def write_vectors(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """One file if the name ends in .json, .jsonl or .gz; else a new folder of files of `documents_per_file` documents each.

    Raises:
        InputFileError: the folder exists and is not empty, or cannot be written.
        VectorError: a token that holds white space or is empty; an impact above 2**31 - 1.
    """
    counts = WriteCounts()
    quantised = encoding.quantised(records, counts)
    if path.suffix in SUFFIXES:
        _write_file(path, quantised, encoding)
        return counts
    with _new_folder(path) as folder:
        number = 0
        while (first := next(quantised, None)) is not None:
            part = chain([first], islice(quantised, encoding.documents_per_file - 1))
            _write_file(folder / PART.format(number), part, encoding)
            number += 1
    return counts


def _write_file(path: Path, quantised: Iterable[Quantised], encoding: VectorEncoding) -> None:
    with writing(path) as file:
        for record, term_ids, impacts in quantised:
            vector = dict(zip(_words(record, term_ids, encoding), impacts.tolist(), strict=True))
            line = {"id": record.doc_id, "contents": text_of(record), "vector": vector}
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _words(record: EncodedRecord, term_ids: TermArray, encoding: VectorEncoding) -> list[str]:
    """The names of terms, none of which may fall apart where Anserini splits at white space."""
    try:
        names = encoding.terms.names(term_ids)
        if " ".join(names).split() != names:
            bad = next(name for name in names if name.split() != [name])
            raise VectorError(f"token {bad!r} cannot be written: it is empty or holds white space; name terms by their ids instead.")
        return names
    except VectorError as error:
        raise VectorError(f"document {record.doc_id!r}: {error}") from error


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that takes its name when the block ends well. An empty one may be there already."""
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputFileError(f"{path} exists: name a new folder, or a file that ends in {', '.join(SUFFIXES)}.")
        temporary.mkdir()
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise InputFileError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# -- queries ---------------------------------------------------------------------------------------------------------


def read_queries(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """query-id TAB token token token ...: the impact of a token is how often it stands there; .gz is unpacked."""
    for number, line in read_lines(path):
        query_id, tab, rest = line.partition("\t")
        if not tab or "\t" in rest:
            bad_line(path, number, "expected 'query-id TAB token token ...', with one tab.")
        impacts = Counter(rest.split(" ")) if rest else Counter()
        if "" in impacts:
            bad_line(path, number, "tokens are separated by single spaces, there are two of them or one at the end.")
        with located(f"{path}, line {number}"):
            vector = encoding.restore(encoding.terms.ids(impacts), list(impacts.values()))
            yield EncodedRecord.from_mapping({"_id": query_id, "vector": vector})


def write_queries(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Each token as often as its impact says.

    Raises:
        RecordError: a query id with white space.
        VectorError: a token that holds white space or is empty; an impact above 2**31 - 1.
    """
    counts = WriteCounts()
    with writing(path) as file:
        for record, term_ids, impacts in encoding.quantised(records, counts):
            names = _words(record, term_ids, encoding)
            words = (f"{name} " * impact for name, impact in zip(names, impacts.tolist(), strict=True))
            file.write(f"{_query_id(record)}\t{''.join(words)[:-1]}\n".encode())
    return counts


def _query_id(record: EncodedRecord) -> str:
    query_id = record.doc_id
    if query_id.split() != [query_id] or query_id.startswith("\ufeff"):
        raise RecordError(f"query id {query_id!r} cannot be written: neither this format nor a TREC run holds ids with white space.")
    return query_id
