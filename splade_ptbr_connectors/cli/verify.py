"""splade-ptbr verify INPUT --store URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import counted, emit, show_table
from .exit_codes import ExitCode
from .options import Json, OpenSettings, StoreModel, StoreUrl, Tenant, load_encoder, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

KINDS = {
    "missing": "in the input, not in the store",
    "extra": "in the store, not in the input",
    "changed": "stored with other content, or without this package",
    "doubled": "stored more than once",
    "wrong_model": "encoded by another model",
}


def verify(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="The file that was loaded: JSONL, CSV or TSV, also .gz; - for stdin.")],
    store: StoreUrl,
    tenant: Tenant = None,
    model: StoreModel = None,
    setting: OpenSettings = None,
    as_json: Json = False,
) -> None:
    """Compare a store with its input by reading both: missing, extra, changed, doubled, made by another model. Changes nothing."""
    from ..ingestion.verify import verify as verify_store
    from ..sources import open_source
    from ..stores import open_store

    records = open_source(source)
    encoder, settings = load_encoder(model, preload=False) if model else None, read_settings(setting)
    with open_store(store, encoder=encoder, create=False, allow_mismatch=True, tenant=tenant, settings=settings) as opened:
        report = verify_store(records, opened)
        found = {name: value for name, value in report.to_dict().items() if name != "model"}
        about = {"store": opened.url, "tenant": tenant, "model": opened.encoder.name, "fingerprint": report.model}
    document = {**about, **found}
    emit(document, _render, as_json=as_json)
    if not report.ok:
        raise typer.Exit(ExitCode.DIFFERENT)


def show_differences(console: Console, verified: Mapping[str, Any]) -> None:
    """A table of the kinds of difference, or one line if there is none."""
    rows = [
        (name.replace("_", " "), f"{verified[name]['count']:,}", meaning, ", ".join(verified[name]["first"]))
        for name, meaning in KINDS.items()
        if verified[name]["count"]
    ]
    if rows:
        show_table(console, ("difference", "documents", "meaning", "first"), rows, numeric=(1,))
    else:
        console.print("no differences")


def _render(document: dict[str, Any], console: Console) -> None:
    console.print(
        f"{document['store']} holds {counted(document['documents'], 'document')}, the input asks for {document['records']:,} "
        f"({counted(document['rejected'], 'record')} would be rejected), model {document['model']}",
        markup=False,
    )
    if document["filled_with"] is None:
        console.print("the store does not say which model filled it: see splade-ptbr adopt", style="yellow")
    show_differences(console, document)
