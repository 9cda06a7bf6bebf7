"""splade-ptbr encode IN OUT."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..errors import ConfigError, InputFileError
from .console import emit, note
from .exit_codes import exit_if_rejected
from .options import (
    AllowRejected,
    BatchSize,
    DeadLetter,
    Device,
    Json,
    Model,
    OnLongChoice,
    OnLongOption,
    Passages,
    RuntimeChoice,
    RuntimeOption,
    load_encoder,
    read_passages,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..encoding.encoder import SpladeEncoder
    from ..ingestion.dead_letter import DeadLetter as DeadLetterFile
    from ..ingestion.items import Item
    from ..records import Record
    from ..splitting import Splitter
    from ..stores.base import EntryPassage
    from ..vectors import SparseVector

STDOUT = "-"


class Kind(StrEnum):
    """Which side of the model encodes the texts."""

    document = "document"
    query = "query"


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="JSONL, CSV or TSV file with _id and text, also .gz; - for stdin.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="JSONL file to write, whole or not at all; - for stdout.")],
    model: Model = "mini",
    kind: Annotated[Kind, typer.Option("--kind", help="Encode as documents or as queries.")] = Kind.document,
    tokens: Annotated[bool, typer.Option("--tokens", help="Write tokens instead of term ids, heaviest first.")] = False,
    with_record: Annotated[
        bool, typer.Option("--with-record", help="Write the whole record beside its vector, so that ingest takes OUT as it is.")
    ] = False,
    passages: Passages = None,
    dead_letter: DeadLetter = None,
    allow_rejected: AllowRejected = False,
    on_long: OnLongOption = OnLongChoice.windows,
    batch_size: BatchSize = 32,
    runtime: RuntimeOption = RuntimeChoice.auto,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Encode texts to {"_id", "vector": {term_id: weight}} lines.

    Without --dead-letter the first record that cannot be encoded ends the run, and nothing is written.
    """
    from ..ingestion.dead_letter import DeadLetter as DeadLetterFile
    from ..sources import open_source
    from ..splitting import Splitter
    from ..stores.model_stamp import passage_settings

    if as_json and out == STDOUT:
        raise ConfigError("--json and OUT '-' both write to stdout: give OUT a file name.")
    if with_record and (tokens or kind is Kind.query):
        raise ConfigError("--with-record writes documents for ingest: leave out --tokens and --kind query.")
    if passages and not with_record:
        raise ConfigError("--passages is for --with-record: without it a line has one vector.")
    split = passage_settings(read_passages(passages))
    started = time.perf_counter()
    records = open_source(source)
    encoder = load_encoder(model, runtime=runtime, device=device, batch_size=batch_size, on_long=on_long)
    with closing(DeadLetterFile(dead_letter)) as rejected, _writer(out) as file:
        line = partial(_line, decoder=encoder if tokens else None, fingerprint=encoder.fingerprint if with_record else None)
        splitter = Splitter(encoder, **split) if with_record and split is not None else None
        counts = _write(_items(records, encoder, kind, splitter), file, line, rejected, source)
    document = {
        "source": source,
        "out": out,
        "model": encoder.name,
        "kind": kind.value,
        **counts.to_dict(),
        "dead_letter": str(dead_letter) if counts.rejected else None,
        "seconds": time.perf_counter() - started,
        "encoding": asdict(encoder.report),
    }
    if out == STDOUT:
        note(_summary(document))
    else:
        emit(document, _render, as_json=as_json)
    exit_if_rejected(counts.rejected, document["read"], document["dead_letter"], allowed=allow_rejected)


@dataclass
class _Counts:
    """Records, and their vectors: a long one has one for each passage."""

    written: int = 0
    rejected: int = 0
    vectors: int = 0
    terms: int = 0

    def to_dict(self) -> dict[str, Any]:
        mean = self.terms / self.vectors if self.vectors else 0.0
        records = {"read": self.written + self.rejected, "written": self.written, "rejected": self.rejected}
        return {**records, "vectors": self.vectors, "mean_terms": mean}


def _write(items: Iterable[Item], file: TextIO, line: Callable[..., str], rejected: DeadLetterFile, source: str) -> _Counts:
    """Write a line per vector. Raises InputFileError for the first rejected record, unless there is a file to keep those in."""
    counts = _Counts()
    for item in items:
        if item.record is not None and item.vector is not None:
            file.write(line(item.record, item.vector, item.passages))
            for passage in item.passages or (item,):
                counts.terms += len(passage.vector or ())
                counts.vectors += 1
            counts.written += 1
        elif rejected.path is None:
            raise InputFileError(f"{source}, line {item.line}: {item.reason} Correct it, or set such records aside with --dead-letter.")
        else:
            rejected.append([item.dead_letter_line])
            counts.rejected += 1
    return counts


def _items(records: Iterable[Any], encoder: SpladeEncoder, kind: Kind, splitter: Splitter | None) -> Iterator[Item]:
    """The records in their order, each with its vector, or those of its passages, or why it has none; a bar if stderr is a terminal."""
    from tqdm import tqdm

    from ..ingestion.item_encoder import encode_items
    from ..ingestion.items import read_items

    failures: list[InputFileError] = []

    def until_failure() -> Iterator[Any]:  # an error of the file must not look like one of a text that is being encoded
        try:
            yield from records
        except InputFileError as error:
            failures.append(error)

    encode_texts = encoder.encode_documents if kind is Kind.document else encoder.encode_queries
    items = encode_items(read_items(until_failure()), encode_texts, splitter)
    yield from map(_checked, tqdm(items, desc="encode", unit=" texts", disable=None, file=sys.stderr))
    if failures:
        raise failures[0]


def _checked(item: Item) -> Item:
    """The item, rejected where its line would have no room for a field of its own."""
    from ..records import PASSAGES_FIELD, Record, brings_passages

    own = item.record.fields.get(PASSAGES_FIELD) if isinstance(item.record, Record) else None
    if item.passages and own is not None and not brings_passages({PASSAGES_FIELD: own}):
        item.reject(f'the record has a field "{PASSAGES_FIELD}", which is where the vectors of its passages go: rename it.')
    return item


def _line(
    record: Record, vector: SparseVector, passages: Sequence[EntryPassage], *, decoder: SpladeEncoder | None, fingerprint: str | None
) -> str:
    """A line of OUT; with a fingerprint it holds the whole record, for ingest, and a long one the vectors of its passages."""
    more: dict[str, Any] = {} if fingerprint is None else {**_without_vectors(record.payload), "fingerprint": fingerprint}
    if passages:
        spans = [{"start": each.start, "end": each.end, "vector": _written(each.vector.to_opensearch().items())} for each in passages]
        return json.dumps({"_id": record.doc_id, **more, "passages": spans}, ensure_ascii=False) + "\n"
    key, pairs = ("vector", vector.to_opensearch().items()) if decoder is None else ("tokens", decoder.decode(vector))
    return json.dumps({"_id": record.doc_id, **more, key: _written(pairs)}, ensure_ascii=False) + "\n"


def _without_vectors(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload without vectors that another encoding of the record has left."""
    from ..records import PASSAGES_FIELD, VECTOR_FIELD, brings_passages

    left = {VECTOR_FIELD, PASSAGES_FIELD} if brings_passages({**payload, VECTOR_FIELD: None}) else {VECTOR_FIELD}
    return {name: value for name, value in payload.items() if name not in left}


def _written(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {name: _shortest(weight) for name, weight in pairs}


def _shortest(weight: float) -> float:
    """The number with the fewest digits that is the same float32: 0.3, not 0.30000001192092896."""
    import numpy as np

    return float(str(np.float32(weight)))


def _writer(out: str) -> AbstractContextManager[TextIO]:
    from ..evaluation.files import atomic_writer

    return nullcontext(sys.stdout) if out == STDOUT else atomic_writer(out)


def _summary(document: dict[str, Any]) -> str:
    several = f"{document['vectors']:,} vectors of passages, " if document["vectors"] != document["written"] else ""
    return (
        f"{document['written']:,} of {document['read']:,} {document['kind']} texts encoded to {document['out']}, "
        f"{several}{document['mean_terms']:.1f} terms each, {document['seconds']:.1f} s, model {document['model']}"
    )


def _render(document: dict[str, Any], console: Console) -> None:
    console.print(_summary(document), markup=False)
