"""splade-ptbr alias --store URL/ALIAS [--to COLLECTION]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import StoreNotFoundError
from .console import emit
from .options import Json, ServerUrl

if TYPE_CHECKING:
    from rich.console import Console


def alias(
    store: ServerUrl,
    to: Annotated[str | None, typer.Option("--to", metavar="COLLECTION", help="Point the alias to this collection from now on.")] = None,
    as_json: Json = False,
) -> None:
    """Show which collection an alias points to, or point it to another in one step."""
    from ..stores.aliases import collection_name

    name = collection_name(store)
    target = _target(store)
    if to is None and target is None:
        raise StoreNotFoundError(
            f"there is no collection or alias {name!r} at {store.partition('?')[0]}: create an alias with --to COLLECTION."
        )
    document = {"alias": name, "collection": to or target, "previous": target if to is None else _move(store, name, to)}
    emit(document | {"is_alias": document["collection"] != name}, _render, as_json=as_json)


def _target(url: str) -> str | None:
    from ..stores.aliases import on_server, open_without_model

    try:
        with open_without_model(url) as opened:
            return on_server(opened).collection
    except StoreNotFoundError:
        return None


def _move(url: str, name: str, to: str) -> str | None:
    from ..stores.aliases import on_server, open_without_model, sibling_url

    with open_without_model(sibling_url(url, to)) as opened:
        return on_server(opened).point_alias(name)


def _render(document: dict[str, Any], console: Console) -> None:
    alias, collection, previous = document["alias"], document["collection"], document["previous"]
    if not document["is_alias"]:
        text = f"{alias} is a collection, not an alias"
    elif previous == collection:
        text = f"{alias} points to {collection}"
    else:
        text = f"{alias} now points to {collection}" + (f", before to {previous}" if previous else "")
    console.print(text, markup=False)
