"""splade-ptbr play --store URL [--store URL]."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..languages import words_of_locale
from ..stores import STORE_URLS
from .console import emit, flush, note
from .options import PREFIX, Json, OpenSettings, StoreModel, Tenant, open_filled_store

if TYPE_CHECKING:
    from rich.console import Console

PORT = 8765
MOST_STORES = 2


def _by_environment() -> list[str]:
    return list(filter(None, [os.environ.get(PREFIX + "STORE")]))  # not typer's envvar, which would split a URL at blanks


def play(
    store: Annotated[
        list[str],
        typer.Option(
            "--store",
            metavar="URL",
            default_factory=_by_environment,
            show_default=f"{PREFIX}STORE",
            help=f"Where the vectors are, {STORE_URLS}; given twice: two stores side by side.",
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", envvar=PREFIX + "HOST", help="Address of this machine to listen on; others than its own may read then.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", envvar=PREFIX + "PORT", min=0, max=65_535, help="0: any free one.")] = PORT,
    tenant: Tenant = None,
    model: StoreModel = None,
    setting: OpenSettings = None,
    as_json: Json = False,
) -> None:
    """Serve a local page that searches one store, or two side by side. Ctrl-C ends it."""
    if not 1 <= len(store) <= MOST_STORES:
        raise ConfigError(f"--store is given {len(store)} times: give it once, or twice to compare two stores.")
    from ..play import server

    say = words_of_locale(server.WORDS)
    with server.listen(host, port) as listening, ExitStack() as opened:
        stores = [opened.enter_context(open_filled_store(url, model, tenant, setting)) for url in store]
        url = f"http://{server.in_url(host)}:{listening.getsockname()[1]}/"
        if not server.is_loopback(listening):
            note(f"warning: {say['exposed'].format(host=host)}")
        emit({"url": url, "stores": [each.url for each in stores]}, partial(_render, line=say["serving"].format(url=url)), as_json=as_json)
        flush()
        server.serve(server.application(stores, host), listening)


def _render(document: dict[str, Any], console: Console, line: str) -> None:
    for url in document["stores"]:
        console.print(url, markup=False, style="dim")
    console.print(line, markup=False)
