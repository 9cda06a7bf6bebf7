"""splade-ptbr adopt --store URL --model M."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import emit
from .options import PREFIX, Json, ServerUrl, load_encoder

if TYPE_CHECKING:
    from rich.console import Console


def adopt(
    store: ServerUrl,
    model: Annotated[str, typer.Option("--model", envvar=PREFIX + "MODEL", help="What filled it: shipped name, folder or hub id.")],
    as_json: Json = False,
) -> None:
    """Record in a collection that was filled without this package which model made its vectors.

    A collection that names another model is refused. Nothing else in it is changed.
    """
    from ..stores.aliases import on_server, open_as_it_is

    encoder = load_encoder(model, preload=False)
    with open_as_it_is(store, encoder=encoder) as opened:
        was = opened.fingerprint
        server = on_server(opened)
        if was is None:
            server.adopt()
        document = {
            "store": opened.url,
            "model": encoder.name,
            "fingerprint": encoder.fingerprint,
            "changed": was is None,
            "documents": opened.count(),
        }
    emit(document, _render, as_json=as_json)


def _render(document: dict[str, Any], console: Console) -> None:
    what = "is now described as" if document["changed"] else "was already described as"
    console.print(f"{document['store']} {what} filled by {document['model']} ({document['fingerprint'][:12]})", markup=False)
