"""splade-ptbr delete ID ... --store URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .console import counted, emit
from .options import Json, OpenSettings, StoreUrl, Tenant, read_settings

if TYPE_CHECKING:
    from rich.console import Console


def delete(
    store: StoreUrl,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of documents.")] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="Or those that a filter lets pass, e.g. '{\"year\": 1990}'.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    tenant: Tenant = None,
    setting: OpenSettings = None,
    as_json: Json = False,
) -> None:
    """Delete documents, all of their passages with them. Ids that are not in the store are no error."""
    from ..filters import read_filter
    from ..stores.aliases import open_without_model
    from ..stores.entries import parsed_to_delete

    if bool(ids) == (filter is not None):
        raise ConfigError(f"delete was given {'ids and a filter' if ids else 'nothing to delete'}: name documents by ids, or by --filter.")
    conditions = {} if filter is None else read_filter(filter, "--filter")
    if filter is not None:
        parsed_to_delete(conditions)
    with open_without_model(store, tenant=tenant, settings=read_settings(setting)) as opened:
        if dry_run:
            documents = len(opened.get(ids)) if ids else opened.count(filter=conditions)
        else:
            documents = opened.delete(ids) if ids else opened.delete_where(conditions)
            opened.flush()
        document = {"store": opened.url, "tenant": tenant, "documents": documents, "dry_run": dry_run}
    emit(document, _render, as_json=as_json)


def _render(document: dict[str, Any], console: Console) -> None:
    would = "would be deleted" if document["dry_run"] else "deleted"
    console.print(f"{counted(document['documents'], 'document')} {would} from {document['store']}", markup=False)
