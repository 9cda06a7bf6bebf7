"""splade-ptbr delete ID ... --store URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .console import counted, emit
from .options import Json, OpenSettings, StoreUrl, Tenant, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ..stores.base import Store


def delete(
    store: StoreUrl,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of documents; behind -- if one begins with a dash.")] = None,
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
        _check_names(opened, conditions)
        if dry_run:
            documents = len(opened.get(ids)) if ids else opened.count(filter=conditions)
        else:
            documents = opened.delete(ids) if ids else opened.delete_where(conditions)
            opened.flush()
        document = {"store": opened.url, "tenant": tenant, "documents": documents, "dry_run": dry_run}
    emit(document, _render, as_json=as_json)


def _check_names(store: Store, filter: Mapping[str, Any]) -> None:
    """Raise ConfigError if documents pass by a field that none of them has: a misspelt name behind `not` would be all of them."""
    from ..filters import Exists, leaves, parse_filter

    if not filter or not store.count(filter=filter):
        return
    for leaf in leaves(parse_filter(filter)):
        if not store.count(filter=(Exists(leaf.field, within=leaf.within),)):
            raise ConfigError(f"--filter names the field {leaf.field!r}, which no document has: check its spelling; nothing was deleted.")


def _render(document: dict[str, Any], console: Console) -> None:
    would = "would be deleted" if document["dry_run"] else "deleted"
    console.print(f"{counted(document['documents'], 'document')} {would} from {document['store']}", markup=False)
