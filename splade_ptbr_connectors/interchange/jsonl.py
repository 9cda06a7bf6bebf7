"""The lines of `splade-ptbr encode`: {"_id", "vector": {term_id: weight}} with whatever else a record carries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelMismatchError, RecordError
from ..records import FINGERPRINT_FIELD, PASSAGES_FIELD, VECTOR_FIELD, EncodedRecord, brings_passages
from ..vectors import SparseVector
from .files import json_objects, located, writing
from .vector_encoding import VectorEncoding, WriteCounts, counted, shortest


def first_fingerprint(path: Path) -> str | None:
    """The model that the first line names, None if it names none."""
    for _, raw in json_objects(path):
        return None if raw.get(FINGERPRINT_FIELD) is None else str(raw[FINGERPRINT_FIELD])
    return None


def read_jsonl(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """Raises InputFileError with the line, or ModelMismatchError where a line names another model than `encoding`."""
    for where, raw in json_objects(path):
        found = raw.get(FINGERPRINT_FIELD)
        if found is not None and encoding.fingerprint is not None and found != encoding.fingerprint:
            raise ModelMismatchError(
                f"{where}: the vector was made by the model with the fingerprint {str(found)[:12]}, not {encoding.fingerprint[:12]}: "
                "a file holds vectors of one model, and --model names it."
            )
        with located(where):
            if raw.get(VECTOR_FIELD) is None and not brings_passages(raw):
                raise RecordError('no "vector" in the line: expected {"_id", "vector": {term_id: weight}} as encode writes it.')
            yield EncodedRecord.from_mapping(raw)


def write_jsonl(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Write records with all they carry, so that ingest can load the file as it is; .gz by name."""
    counts = WriteCounts()
    with writing(path) as file:
        for record in counted(records, counts):
            line = record.to_mapping() | ({} if encoding.fingerprint is None else {FINGERPRINT_FIELD: encoding.fingerprint})
            if record.passages:
                line[PASSAGES_FIELD] = [{"start": start, "end": end, VECTOR_FIELD: _written(each)} for start, end, each in record.passages]
            else:
                line[VECTOR_FIELD] = _written(record.vector)
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return counts


def _written(vector: SparseVector) -> dict[str, Any]:
    return dict(zip(map(str, vector.term_ids.tolist()), shortest(vector), strict=True))
