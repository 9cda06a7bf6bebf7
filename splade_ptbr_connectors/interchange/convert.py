"""From one format to another: the source's encoding from its manifest, pruning on the way, a manifest beside the target."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..batches import batched
from ..encoding.protocol import Encoder
from ..errors import ConfigError, InputFileError, ModelMismatchError, RecordError, VectorError
from ..ingestion.seen_ids import SeenIds
from ..pruning import Combined, Pruning
from ..records import EncodedRecord, check_doc_id
from ..vectors import SparseBatch
from . import jsonl
from .formats import Format
from .manifest import Manifest, manifest_path, read_manifest, total_size
from .vector_encoding import DEFAULT_QUANTISATION, IDS, TOKENS, Progress, TermIds, Terms, Tokens, VectorEncoding, WriteCounts, not_shown

BATCH = 4096  # documents pruned at once
NO_PRUNING = Combined()
_PASSAGE_NAME = re.compile(r"(.+)#(0|[1-9][0-9]{0,8})", re.DOTALL)


@dataclass(frozen=True)
class Report:
    """What a conversion did; the fields of Manifest, and what was read."""

    source: str
    target: str
    source_format: str
    manifest: Manifest
    empty: int


@dataclass(frozen=True)
class Conversion:
    """What to convert.

    Attributes:
        encoder: the model, for names of terms and to check that vectors are of it; without one terms are called by their ids.
        quantisation: factor of the target, where its weights are integers.
        source_quantisation: factor of a source without a manifest.
        terms, source_terms: "ids" or "tokens"; by default what the manifest says (source), or tokens if there is a model.
        pruning: which postings stay.
        documents_per_file: where the target is a folder.
    """

    source: Path
    source_format: Format
    target: Path
    target_format: Format
    encoder: Encoder | None = None
    quantisation: int = DEFAULT_QUANTISATION
    source_quantisation: int | None = None
    terms: str | None = None
    source_terms: str | None = None
    pruning: Pruning = NO_PRUNING
    documents_per_file: int = 1_000_000
    progress: Progress = not_shown

    def run(self) -> Report:
        """Convert. Whole files are written, or none; an interrupted conversion starts over.

        Raises:
            ConfigError: a factor or a model that is needed is missing, or options contradict the manifest.
            InputError: the source cannot be read, or the target's format cannot hold what it says.
            ModelMismatchError: the vectors are of another model.
        """
        manifest = self._source_manifest()
        fingerprint = self._fingerprint(manifest)
        read_as = VectorEncoding(self._source_terms(manifest), self._source_factor(manifest), fingerprint, progress=self.progress)
        factor = self.quantisation if self.target_format.quantised else None
        written_as = VectorEncoding(
            self._terms(self.terms, self.target_format), factor, fingerprint, self.documents_per_file, self.progress
        )
        records = self.progress(self._checked(self.source_format.read(self.source, read_as)), "documents")
        if not self.target_format.passages:
            records = passages_as_documents(records)
        counts = self.target_format.write(self.target, pruned(records, self.pruning), written_as)
        written = self._manifest(counts, written_as)
        if not self.target_format.describes_itself:
            written.write(self.target)
        return Report(str(self.source), str(self.target), self.source_format.name, written, counts.empty)

    def _source_manifest(self) -> Manifest | None:
        if self.source_format.describes_itself:
            return None
        return read_manifest(self.source, self.source_format.name, self.source_format.files(self.source))

    def _manifest(self, counts: WriteCounts, encoding: VectorEncoding) -> Manifest:
        return Manifest(
            format=self.target_format.name,
            bytes=total_size(self.target_format.files(self.target)),
            terms=encoding.terms.label,
            quantisation=encoding.quantisation,
            fingerprint=encoding.fingerprint,
            pruning=str(self.pruning),
            documents=counts.documents,
            postings=counts.postings,
            dropped=counts.dropped,
        )

    def _fingerprint(self, manifest: Manifest | None) -> str | None:
        """Of the model that made the vectors: the manifest or the first line says so, or else the model that was given."""
        found = manifest.fingerprint if manifest else None
        if self.source_format.describes_itself:
            found = jsonl.first_fingerprint(self.source)
        given = self.encoder.fingerprint if self.encoder else None
        if found is not None and given is not None and found != given:
            raise ModelMismatchError(
                f"{self.source} holds vectors of the model with the fingerprint {found[:12]}, the model given has {given[:12]}: "
                "give the one that made them."
            )
        return found or given

    def _source_terms(self, manifest: Manifest | None) -> Terms:
        said = manifest.terms if manifest and self.source_format.named else None
        if said and self.source_terms and said != self.source_terms:
            raise ConfigError(f"{manifest_path(self.source)} says that terms are called by their {said}: leave the option out.")
        return self._terms(said or self.source_terms, self.source_format)

    def _terms(self, label: str | None, format: Format) -> Terms:
        """The names that a format uses."""
        if label not in (None, IDS, TOKENS):
            raise ConfigError(f"terms are called by {label!r}: it must be {IDS} or {TOKENS}.")
        if not format.named or label == IDS or (label is None and self.encoder is None):
            return TermIds()
        if self.encoder is None:
            raise ConfigError("terms are called by their tokens there: name the model whose vocabulary they are of.")
        return Tokens(self.encoder)

    def _source_factor(self, manifest: Manifest | None) -> int | None:
        if not self.source_format.quantised:
            return None
        said, given = manifest.quantisation if manifest else None, self.source_quantisation
        if said and given and said != given:
            raise ConfigError(
                f"{manifest_path(self.source)} says that weights were multiplied by {said}, not by {given}: leave the option out."
            )
        if said is None and given is None:
            if not self.source.exists():
                raise InputFileError(f"no such file: {self.source}.")
            raise ConfigError(
                f"{self.source} holds integers and has no manifest: give the factor by which weights were multiplied "
                "(--source-quantisation), such as 100."
            )
        return said or given

    def _checked(self, records: Iterable[EncodedRecord]) -> Iterator[EncodedRecord]:
        """The records, none of which is of a larger vocabulary than the model's."""
        for record in records:
            if self.encoder is not None:
                try:
                    for vector in record.vectors:
                        vector.check_vocabulary(self.encoder.vocab_size)
                except VectorError as error:
                    raise VectorError(f"document {record.doc_id!r}: {error}") from error
            yield record


def passages_as_documents(records: Iterable[EncodedRecord]) -> Iterator[EncodedRecord]:
    """The records with each of several passages as a document of its own, `doc_id#number`: what reads such a format takes the best.

    Raises RecordError for an id that is too long for that, and for a document that is called as a passage of another one is.
    """
    names = _Names()
    for record in records:
        names.check(record)
        if not record.passages:
            yield record
        for number, (_, _, vector) in enumerate(record.passages):
            yield EncodedRecord(check_doc_id(f"{record.doc_id}#{number}"), vector)


class _Names:
    """Tells documents whose own id is `doc_id#number`, of which there are few, from passages of other documents, in any order."""

    def __init__(self) -> None:
        self._passages = SeenIds()  # in the place of lines: how many passages a document has
        self._documents: dict[str, list[int]] = {}  # of what looks like passages of a document: their numbers

    def check(self, record: EncodedRecord) -> None:
        """Raise RecordError if a name of this document has come before as that of another one."""
        if record.passages:
            self._passages.first_line(record.doc_id, len(record.passages))
            for number in self._documents.get(record.doc_id, ()):
                self._check_pair(record.doc_id, number)
        elif named := _PASSAGE_NAME.fullmatch(record.doc_id):
            self._documents.setdefault(named[1], []).append(int(named[2]))
            self._check_pair(named[1], int(named[2]))

    def _check_pair(self, doc_id: str, number: int) -> None:
        if number < self._passages.line_of(doc_id):
            raise RecordError(
                f"the document {f'{doc_id}#{number}'!r} is called as passage {number} of the document {doc_id!r} would be in this format: "
                "rename one of them, or convert to jsonl, which keeps a document as one."
            )


def pruned(records: Iterable[EncodedRecord], pruning: Pruning) -> Iterator[EncodedRecord]:
    """The records with the postings that stay, in batches; all of them at once in memory if the rule needs the collection."""
    if pruning == NO_PRUNING:
        yield from records
        return
    for batch in [list(records)] if pruning.needs_collection else batched(records, BATCH):
        vectors = iter(pruning.apply(SparseBatch.from_vectors(vector for record in batch for vector in record.vectors)))
        for record in batch:
            kept = [next(vectors) for _ in record.vectors]
            passages = tuple([(start, end, vector) for (start, end, _), vector in zip(record.passages, kept, strict=False)])
            yield EncodedRecord(record.doc_id, kept[0], record.payload, record.dense, passages)
