"""splade-ptbr reindex INPUT --store URL/ALIAS."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..stores import engine_of
from .console import emit, note
from .exit_codes import ExitCode, exit_if_rejected
from .ingest import holds_vectors
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
    ServerUrl,
    Settings,
    load_encoder,
    read_passages,
    read_settings,
)
from .run_files import held_folder, state_folder
from .verify import show_differences

if TYPE_CHECKING:
    from rich.console import Console

    from ..ingestion.reindex import ReindexReport

STATE = "reindex.json"
REJECTED = "reindex-rejected.jsonl"


def reindex(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="The whole input: JSONL, CSV or TSV file, also .gz.")],
    store: ServerUrl,
    setting: Settings = None,
    passages: Passages = None,
    model: Model = "mini",
    dead_letter: DeadLetter = None,
    restart: Annotated[bool, typer.Option("--restart", help="Leave an unfinished collection as it is, and start another.")] = False,
    allow_rejected: AllowRejected = False,
    on_long: OnLongOption = OnLongChoice.windows,
    batch_size: BatchSize = 32,
    runtime: RuntimeOption = RuntimeChoice.auto,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Fill a new collection beside the old one, check it, and point the alias to it. Searches through the alias keep working.

    --store names the alias. The new collection is ALIAS-TIME; the old one stays, and the report says how to delete it. Stopped
    and run again, it resumes. The alias stays where it was if the new collection is not what the input says.
    """
    from ..ingestion.reindex import reindex as reindex_records
    from ..sources import open_source

    records = open_source(source)
    if records.path is None:
        raise ConfigError("the input is stdin: a re-index reads its input twice, so give a file name.")
    settings, split = read_settings(setting), read_passages(passages)
    preload = not holds_vectors(records)
    encoder = load_encoder(model, runtime=runtime, device=device, batch_size=batch_size, on_long=on_long, preload=preload)
    with held_folder(state_folder() / _folder_name(store)) as folder:
        note(f"state: {folder} (after an interruption run the same command again)")
        report = reindex_records(
            records,
            store,
            encoder=encoder,
            state=folder / STATE,
            dead_letter=dead_letter or folder / REJECTED,
            restart=restart,
            allow_rejected=allow_rejected,
            settings=settings,
            passages=split,
        )
    emit(_document(report, store, encoder.name), _render, as_json=as_json)
    if not report.moved and report.verified.ok:
        exit_if_rejected(report.ingest.rejected, report.ingest.read, report.ingest.dead_letter, allowed=False)
    if not report.moved:
        raise typer.Exit(ExitCode.DIFFERENT)


def _folder_name(url: str) -> str:
    address = url.partition("?")[0]
    name = re.sub(r"[^\w.-]+", "-", address.rpartition("/")[2])[:60]
    return f"reindex-{name}-{hashlib.blake2b(address.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def _document(report: ReindexReport, url: str, model: str) -> dict[str, Any]:
    from ..stores.aliases import sibling_url

    unused = report.previous if report.moved else report.collection
    where = sibling_url(url, unused).partition("?")[0] if unused else None
    return {"store": url.partition("?")[0], "model": model, **report.to_dict(), "unused": where, "to_delete": _deletion(where)}


def _deletion(url: str | None) -> str | None:
    """The command that deletes a collection; a login has to be added to it."""
    if url is None:
        return None
    server, _, name = url.partition("://")[2].rpartition("/")
    return str(engine_of(url).deletion).format(server=server, name=name)


def _render(document: dict[str, Any], console: Console) -> None:
    report = document["ingest"]
    console.print(
        f"{report['read']:,} records read into {document['collection']}: {report['written']:,} written, {report['unchanged']:,} already "
        f"there, {report['rejected']:,} rejected, {report['seconds']:.1f} s, model {document['model']}",
        markup=False,
    )
    show_differences(console, document["verified"])
    if document["moved"]:
        console.print(f"{document['alias']} now points to {document['collection']}", markup=False)
    else:
        console.print(f"the alias {document['alias']} was NOT moved", style="red", markup=False)
    if document["to_delete"]:
        console.print(f"{document['unused']} is no longer used; to delete it: {document['to_delete']}", markup=False)
