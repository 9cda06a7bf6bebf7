"""splade-ptbr ingest IN --store URL."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import emit
from .options import (
    PREFIX,
    AllowRejected,
    BatchSize,
    DeadLetter,
    Device,
    Json,
    Model,
    OnLong,
    OnLongOption,
    Runtime,
    RuntimeOption,
    StoreUrl,
    load_encoder,
)
from .rejected import leave_if_rejected

if TYPE_CHECKING:
    from rich.console import Console

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", envvar=PREFIX + "CHECKPOINT", help="File by which a killed run goes on (default: in the edge store's folder)."
    ),
]


def ingest(
    source: Annotated[str, typer.Argument(metavar="IN", help="JSONL, CSV or TSV file, also .gz; - for stdin.")],
    store: StoreUrl,
    model: Model = "mini",
    checkpoint: Checkpoint = None,
    dead_letter: DeadLetter = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew although there is a checkpoint.")] = False,
    allow_rejected: AllowRejected = False,
    on_long: OnLongOption = OnLong.windows,
    batch_size: BatchSize = 32,
    runtime: RuntimeOption = Runtime.auto,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Encode documents and load them into a store. Running it again changes nothing."""
    from ..ingestion.engine import ingest as ingest_records
    from ..sources import open_source
    from ..stores import open_store

    records = open_source(source)  # before the model: a missing file shows at once
    encoder = load_encoder(model, runtime=runtime, device=device, batch_size=batch_size, on_long=on_long)
    with open_store(store, encoder=encoder, create=True) as opened:
        beside = _beside(store, source)
        report = ingest_records(
            records,
            opened,
            checkpoint=checkpoint or (beside and beside / "ingest-checkpoint.json"),
            dead_letter=dead_letter or (beside and beside / "ingest-rejected.jsonl"),
            restart=restart,
        )
        document = {
            "store": opened.url,
            "model": encoder.name,
            **report.to_dict(),
            "documents": opened.count(),
            "encoding": asdict(encoder.report),
        }
    emit(document, _render, as_json=as_json)
    leave_if_rejected(document["rejected"], document["read"], document["dead_letter"], allowed=allow_rejected)


def _beside(url: str, source: str) -> Path | None:
    """Where a run's own files go: the folder of an embedded store. A store elsewhere has none."""
    scheme, _, address = url.partition(":")
    return Path(address.removeprefix("//")).expanduser() if scheme == "edge" else None


def _render(document: dict[str, Any], console: Console) -> None:
    again = f" ({document['resumed_at']:,} of them by the run that this one went on from)" if document["resumed_at"] else ""
    console.print(f"{document['read']:,} records read{again}", markup=False)
    for name in ("written", "unchanged", "rejected"):
        console.print(f"{document[name]:>12,} {name}")
    for reason, count in document["reasons"].items():
        console.print(f"{count:>16,} {reason}", markup=False)
    encoding = document["encoding"]
    if encoding["truncated"]:
        console.print(f"{encoding['truncated']:,} texts were cut ({encoding['tokens_cut']:,} tokens): see --on-long", markup=False)
    console.print(
        f"{document['seconds']:.1f} s, {document['documents_per_second']:.0f} records a second; "
        f"{document['store']} holds {document['documents']:,} documents, model {document['model']}",
        markup=False,
    )
