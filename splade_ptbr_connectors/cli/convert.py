"""splade-ptbr convert SOURCE TARGET."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .console import counted, emit
from .options import PREFIX, Json, load_encoder

if TYPE_CHECKING:
    from rich.console import Console

    from ..interchange.convert import Report

FORMATS = "jsonl, anserini, anserini-queries, ciff, pisa, seismic, seismic-bin"
STDIN = "-"


class Naming(StrEnum):
    """What terms are called."""

    ids = "ids"
    tokens = "tokens"


From = Annotated[str | None, typer.Option("--from", metavar="FORMAT", help=f"{FORMATS} (default: as .tsv, .ciff, .docs or .bin says).")]
To = Annotated[str | None, typer.Option("--to", metavar="FORMAT", help="As --from.")]
Quantisation = Annotated[int, typer.Option("--quantisation", help="Weights times this, rounded, where TARGET takes integers.")]
SourceQuantisation = Annotated[
    int | None, typer.Option("--source-quantisation", help="The factor by which weights were multiplied, for a SOURCE without a manifest.")
]
ModelOfTerms = Annotated[
    str | None, typer.Option("--model", envvar=PREFIX + "MODEL", help="The model of the vectors, to call terms by their tokens.")
]
Terms = Annotated[
    Naming | None, typer.Option("--terms", help="What terms are called in TARGET (default: tokens if there is a model, else ids).")
]
SourceTerms = Annotated[Naming | None, typer.Option("--source-terms", help="The same in SOURCE (default: what its manifest says).")]
Prune = Annotated[
    str, typer.Option("--prune", metavar="RULES", help="top_k=64, threshold=0.1, quantile=0.3, several with commas, or none.")
]
DocumentsPerFile = Annotated[int, typer.Option("--documents-per-file", help="When TARGET is an Anserini folder.")]


def convert(
    source: Annotated[Path, typer.Argument(help="What to read: a file, or an Anserini folder.")],
    target: Annotated[Path, typer.Argument(help="What to write, whole or not at all; beside it NAME.manifest says how to read it back.")],
    source_format: From = None,
    target_format: To = None,
    quantisation: Quantisation = 100,
    source_quantisation: SourceQuantisation = None,
    model: ModelOfTerms = None,
    terms: Terms = None,
    source_terms: SourceTerms = None,
    prune: Prune = "none",
    documents_per_file: DocumentsPerFile = 1_000_000,
    as_json: Json = False,
) -> None:
    """Convert vectors between this package's JSONL and the files of other search tools."""
    from ..interchange.convert import Conversion
    from ..interchange.formats import format_of
    from ..pruning import parse_pruning

    if STDIN in (str(source), str(target)):
        raise ConfigError("convert reads and writes files: give a file name instead of '-'.")
    started = time.perf_counter()
    conversion = Conversion(
        source=source,
        source_format=format_of(source, source_format, "--from"),
        target=target,
        target_format=format_of(target, target_format, "--to"),
        encoder=load_encoder(model, preload=False) if model else None,
        quantisation=quantisation,
        source_quantisation=source_quantisation,
        terms=terms and terms.value,
        source_terms=source_terms and source_terms.value,
        pruning=parse_pruning(prune),
        documents_per_file=documents_per_file,
        progress=_with_bar,
    )
    emit({**_document(conversion.run()), "seconds": time.perf_counter() - started}, _render, as_json=as_json)


def _with_bar(things: Iterable[Any], name: str) -> Iterable[Any]:
    """A bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(things, desc="convert", unit=f" {name}", disable=None, file=sys.stderr)
    return bar


def _document(report: Report) -> dict[str, Any]:
    written = asdict(report.manifest)
    return {
        "source": report.source,
        "from": report.source_format,
        "target": report.target,
        "to": written.pop("format"),
        **written,
        "empty": report.empty,
    }


def _render(document: dict[str, Any], console: Console) -> None:
    line = (
        f"{counted(document['documents'], 'document')}, {counted(document['postings'], 'posting')} converted "
        f"from {document['source']} ({document['from']}) to {document['target']} ({document['to']}), {document['seconds']:.1f} s; "
        f"terms: {document['terms']}"
    )
    if document["quantisation"]:
        line += f"; weights times {document['quantisation']}, {document['dropped']:,} rounded to 0 and dropped"
    if document["pruning"] != "none":
        line += f"; pruned with {document['pruning']}"
    if document["empty"]:
        line += f"; {counted(document['empty'], 'document')} left without a posting"
    console.print(line, markup=False)
