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
    to: Annotated[str | None, typer.Option("--to", metavar="COLLECTION", help="Let the alias mean this collection from now on.")] = None,
    as_json: Json = False,
) -> None:
    """Show which collection an alias means, or let it mean another in one step."""
    from ..stores.aliases import collection_name

    name = collection_name(store)
    meant = _meaning(store)
    if to is None and meant is None:
        raise StoreNotFoundError(
            f"there is no collection or alias {name!r} at {store.partition('?')[0]}: make an alias with --to COLLECTION."
        )
    document = {"alias": name, "collection": to or meant, "previous": meant if to is None else _move(store, name, to)}
    emit(document | {"is_alias": document["collection"] != name}, _render, as_json=as_json)


def _meaning(url: str) -> str | None:
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
        text = f"{alias} means {collection}"
    else:
        text = f"{alias} means {collection} now" + (f", before it meant {previous}" if previous else "")
    console.print(text, markup=False)
