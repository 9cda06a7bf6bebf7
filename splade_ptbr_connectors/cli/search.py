"""splade-ptbr search QUERY --store URL."""

from __future__ import annotations

import shlex
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..hits import add_words, hit_to_dict
from ..languages import fill
from .console import emit, show_hits, spoken
from .options import PREFIX, Best, Json, OpenSettings, StoreModel, StoreUrl, Tenant, open_filled_store
from .snippet import EXPLAINED_LINES, LINES

if TYPE_CHECKING:
    from rich.console import Console


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    store: StoreUrl,
    k: Annotated[int, typer.Option("-k", "--top-k", envvar=PREFIX + "K", help="Number of hits, 1 to 10,000.")] = 10,
    filter: Annotated[str | None, typer.Option("--filter", help='Payload filter, e.g. \'{"metadata.subject": "saúde"}\'.')] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="Leave out hits with a smaller score.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Mark the words that made each hit match, and show what each adds to the score.")
    ] = False,
    each_passage: Annotated[
        bool,
        typer.Option(
            "--each-passage",
            help="Show passages as hits of their own, several of one document among them. They are counted from 1, in JSON from 0.",
        ),
    ] = False,
    best: Best = 1,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", min=0, help=f"Lines of text to show of each hit, 0 for all (default: {LINES}, explained {EXPLAINED_LINES})."
        ),
    ] = None,
    tenant: Tenant = None,
    model: StoreModel = None,
    setting: OpenSettings = None,
    as_json: Json = False,
) -> None:
    """Search a store with a Portuguese query."""
    from ..filters import read_filter

    conditions = None if filter is None else read_filter(filter, "--filter")
    with open_filled_store(store, model, tenant, setting) as opened:
        started = time.perf_counter()
        vector = opened.encoder.encode_query(query)
        found = opened.search(vector, k, filter=conditions, group=not each_passage, min_score=min_score, best=best)
        hits = [hit_to_dict(hit) for hit in found]
        latency_ms = 1000 * (time.perf_counter() - started)
        if explain:
            add_words(hits, found, query, opened, vector)
        empty = not hits and opened.count() == 0
        why = "no_words" if not len(vector) else "nothing" if min_score is None else "below"
        asked = {"query": query, "store": opened.url, "model": opened.encoder.name, "k": k, "best": best}
    document = {**asked, "latency_ms": latency_ms, "hits": hits}
    emit(document, partial(_render, lines=lines, tenant=tenant, empty=empty, why=why), as_json=as_json)


def _render(document: dict[str, Any], console: Console, *, lines: int | None, tenant: str | None, empty: bool, why: str) -> None:
    say, url = spoken("hits"), document["store"]
    if empty:
        options = shlex.join([url, *(() if tenant is None else ("--tenant", tenant))])
        told = say["empty" if tenant is None else "empty_of_tenant"].format(store=url, tenant=tenant, options=options)
        console.print(told, markup=False, soft_wrap=True)
        return
    show_hits(console, document["hits"], lines=lines, otherwise=say[why])
    if document["best"] > 1 and any("words" in hit for hit in document["hits"]):
        console.print(say["mean"].format(n=document["best"]), style="dim", markup=False)
    count = len(document["hits"])
    found = fill(say["found"]["one" if count == 1 else "other"], n=count, ms=document["latency_ms"], model=document["model"])
    console.print(f"\n{found}", style="dim", markup=False)
