"""splade-ptbr ingest IN --store URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import ConfigError
from ..stores import engine_of
from .console import counted, emit, note, worded
from .exit_codes import exit_if_rejected
from .options import (
    PREFIX,
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
    Settings,
    StoreUrl,
    Tenant,
    load_encoder,
    read_passages,
    read_settings,
)
from .run_files import run_files

if TYPE_CHECKING:
    from rich.console import Console

    from ..encoding.encoder import SpladeEncoder
    from ..ingestion.report import IngestReport
    from ..sources import Source
    from ..stores.base import Store

CHECKPOINT_HELP = (
    "File from which a killed run resumes (default: in the folder of an edge store; of any other in the user's state folder, "
    "SPLADE_PTBR_STATE; the report says where)."
)
RAY_ONLY = " (--engine ray)"


class Engine(StrEnum):
    """What runs the ingest."""

    local = "local"
    ray = "ray"


Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", envvar=PREFIX + "CHECKPOINT", help=CHECKPOINT_HELP)]
EngineOption = Annotated[
    Engine,
    typer.Option("--engine", envvar=PREFIX + "ENGINE", help="local: this process; ray: every core, or a Ray cluster."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", envvar=PREFIX + "WORKERS", help="Encoding processes; by default one per core" + RAY_ONLY + ".")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", envvar=PREFIX + "RAY_ADDRESS", help="A cluster to join; by default one of its own" + RAY_ONLY + "."),
]


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="JSONL, CSV or TSV file, also .gz; - for stdin. A vector in a line (see encode) is taken as it is."
        ),
    ],
    store: StoreUrl,
    tenant: Tenant = None,
    setting: Settings = None,
    passages: Passages = None,
    model: Model = "mini",
    checkpoint: Checkpoint = None,
    dead_letter: DeadLetter = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over even if there is a checkpoint.")] = False,
    allow_rejected: AllowRejected = False,
    on_long: OnLongOption = OnLongChoice.windows,
    batch_size: BatchSize = 32,
    runtime: RuntimeOption = RuntimeChoice.auto,
    device: Device = None,
    engine: EngineOption = Engine.local,
    workers: Workers = None,
    ray_address: RayAddress = None,
    as_json: Json = False,
) -> None:
    """Encode documents and upload them to a store. Running it again changes nothing; after a kill it resumes."""
    from ..sources import open_source

    records = open_source(source)  # before the model: a missing file shows at once
    target = Target(store, tenant, read_settings(setting), read_passages(passages))
    load = partial(load_encoder, model, runtime=runtime, device=device, batch_size=batch_size, on_long=on_long)
    if engine is Engine.ray:
        if checkpoint or restart:
            raise ConfigError("--checkpoint and --restart are for --engine local: with Ray every run compares with the store itself.")
        encoder = load(preload=False)
        document = _with_ray(
            records, target, encoder, dead_letter, workers=workers, ray_address=ray_address, runtime=runtime, device=device
        )
    else:
        if workers is not None or ray_address:
            raise ConfigError("--workers and --ray-address are for --engine ray.")
        encoder = load(preload=not holds_vectors(records))
        document = _here(records, target, encoder, checkpoint, dead_letter, restart=restart)
    emit(document, show_ingest, as_json=as_json)
    exit_if_rejected(document["rejected"], document["read"], document["dead_letter"], allowed=allow_rejected)


class Target(NamedTuple):
    """The store as the options name it."""

    url: str
    tenant: str | None
    settings: Mapping[str, Any]
    passages: Mapping[str, Any] | bool | None = None

    def open(self, encoder: SpladeEncoder) -> Store:
        """Open or create it."""
        from ..stores import open_store

        return open_store(self.url, encoder=encoder, tenant=self.tenant, settings=self.settings, passages=self.passages)


def holds_vectors(source: Source) -> bool:
    """Whether the first record of a file brings its vector, so that the model's network may not be needed; True for a stream."""
    from ..sources import Row

    if source.identity["bytes"] is None:
        return True
    first = next(iter(source), None)
    return isinstance(first, Row) and isinstance(first.raw, Mapping) and "vector" in first.raw


def _here(
    records: Source, target: Target, encoder: SpladeEncoder, checkpoint: Path | None, dead_letter: Path | None, *, restart: bool
) -> dict[str, Any]:
    from ..ingestion.engine import ingest as ingest_records

    with target.open(encoder) as opened:
        with run_files(opened, records, checkpoint=checkpoint, dead_letter=dead_letter) as files:
            if not engine_of(opened.url).one_process:
                note(f"checkpoint: {files.checkpoint} (after an interruption run the same command again)")
            report = ingest_records(records, opened, checkpoint=files.checkpoint, dead_letter=files.dead_letter, restart=restart)
        about = {"tenant": target.tenant, "checkpoint": str(files.checkpoint), "encoding": asdict(encoder.report)}
        return {**ingest_to_dict(report, opened.url, encoder, opened.count()), **about}


def _with_ray(
    records: Source,
    target: Target,
    encoder: SpladeEncoder,
    dead_letter: Path | None,
    *,
    workers: int | None,
    ray_address: str | None,
    runtime: RuntimeChoice,
    device: str | None,
) -> dict[str, Any]:
    from ..distributed import check_ready, ingest_with_ray

    check_ready(target.url)
    with target.open(encoder) as opened, run_files(opened, records, dead_letter=dead_letter) as files:
        report = ingest_with_ray(
            records,
            target.url,
            encoder.load_arguments["model"],
            encoder_options={name: value for name, value in encoder.load_arguments.items() if name != "model"}
            | {"batch_size": encoder.batch_size, "runtime": runtime.value, "device": device},
            workers=workers,
            gpus_per_worker=1.0 if device and device.startswith("cuda") else 0.0,
            ray_address=ray_address,
            tenant=target.tenant,
            settings=target.settings,
            passages=target.passages,
            dead_letter=files.dead_letter,
        )
        about = {"tenant": target.tenant, "checkpoint": None, "encoding": None}
        return {**ingest_to_dict(report, opened.url, encoder, opened.count()), **about}


def ingest_to_dict(report: IngestReport, url: str, encoder: SpladeEncoder, documents: int) -> dict[str, Any]:
    """A report with what it is about; `refused` are those of the rejected that the store itself would not take."""
    refused = sum(count for reason, count in report.reasons.items() if reason.startswith("refused by the store"))
    return {"store": url, "model": encoder.name, **report.to_dict(), "refused": refused, "documents": documents}


def show_ingest(document: dict[str, Any], console: Console) -> None:
    """The report of an ingest for people."""
    console.print(f"{counted(document['read'], 'record')} read", markup=False)
    if document["resumed_at"]:
        console.print(
            f"resumed after record {document['resumed_at']:,}, the last in the checkpoint; what the interrupted run stored after it "
            "counts as unchanged",
            markup=False,
        )
    for name in ("written", "unchanged", "rejected"):
        refused = f", {document['refused']:,} of them refused by the store" if name == "rejected" and document["refused"] else ""
        console.print(f"{document[name]:>12,} {name}{refused}")
    for reason, count in document["reasons"].items():
        console.print(f"{count:>16,} {worded(reason)}", markup=False)
    encoding = document["encoding"] or {}
    if encoding.get("truncated"):
        console.print(
            f"{counted(encoding['truncated'], 'text')} cut ({counted(encoding['tokens_cut'], 'token')}): see --on-long", markup=False
        )
    if checked := document["reconciled"]:
        console.print(_checked(checked), style=None if checked["ok"] else "yellow", markup=False)
    console.print(
        f"{document['seconds']:.1f} s, {_rate(document['documents_per_second'])} records a second; "
        f"{document['store']} holds {counted(document['documents'], 'document')}, model {document['model']}",
        markup=False,
    )


def _rate(a_second: float) -> str:
    """Long documents take more than a second each."""
    return f"{a_second:,.0f}" if a_second >= 10 else f"{a_second:.2g}"


def _checked(checked: Mapping[str, Any]) -> str:
    """The check of the store after the run, in one line."""
    found = "all there" if not checked["changed"] else f"{checked['changed']:,} of them overwritten by somebody else since"
    count = (
        "" if checked["count_found"] == checked["count_expected"] else f"; expected {counted(checked['count_expected'], 'document')} in all"
    )
    return f"checked: {counted(checked['sampled'], 'written document')} read back, {found}{count}"
