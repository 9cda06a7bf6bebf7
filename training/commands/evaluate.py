"""python -m training evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.options import (
    DEFAULT_DATA,
    BatchSizeOption,
    CollectionOption,
    DataOption,
    DeviceOption,
    FilesOption,
    JsonOption,
    SetOption,
    SplitOption,
)


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, hub id or shipped name.")],
    data: DataOption = DEFAULT_DATA,
    split: SplitOption = "test",
    collection: CollectionOption = None,
    files: FilesOption = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="With a cut-off: nDCG@20, RR@10, R@1000 ... [default: nDCG@10]")
    ] = None,
    bm25: Annotated[bool, typer.Option("--bm25", help="Stemmed BM25 as well; it holds every document in memory.")] = False,
    as_json: JsonOption = False,
    run_out: Annotated[Path | None, typer.Option(help="Write what was found here, as a TREC run.")] = None,
    set_: SetOption = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 32,
) -> None:
    """Measure a saved model, with its terms per query and per document."""
    from training.commands.chosen import chosen_collections, load_encoder
    from training.measure.saved_models import evaluate as evaluate_one
    from training.measure.saved_models import evaluation_row, write_runs

    encoder = load_encoder(model, set_ or (), device=device, batch_size=batch_size)
    rows, runs = [], {}
    for chosen in chosen_collections(data, split, collection or (), files or ()):
        measured, found = evaluate_one(encoder, chosen, metric or ["nDCG@10"], progress=True)
        rows.append(evaluation_row(measured, chosen, encoder, bm25=bm25))
        if run_out:
            runs[chosen.name] = found
    try:
        if run_out:
            write_runs(run_out, runs)
    finally:  # the figures are not lost with the file
        if as_json:
            typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        else:
            _show(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    from splade_ptbr_connectors.cli.console import human_console, show_table

    console = human_console()
    for metric in rows[0]["measures"]:
        baseline = "bm25" in rows[0]
        columns = ["collection", "queries", metric, *(["BM25"] if baseline else []), "terms per query", "terms per document"]
        lines = [line for row in rows for line in _lines(row, metric)]
        show_table(console, columns, lines, numeric=range(1, len(columns)))
    for row in rows:
        console.print(f"{row['collection']}: {row['about']}.", markup=False)


def _lines(row: dict[str, Any], metric: str) -> list[list[str]]:
    """The collection, then its kinds of queries, if they have kinds; BM25 and numbers of terms are of the whole."""
    compared = [f"{row['bm25'][metric]:.3f}"] if "bm25" in row else []
    sizes = [f"{row['terms_query']:.1f}", f"{row['terms_document']:.0f}"]
    whole = [row["collection"], f"{row['queries']:,}", f"{row['measures'][metric]:.3f}", *compared, *sizes]
    nothing = [""] * len([*compared, *sizes])
    kinds = [[f"  {kind}", f"{means['queries']:,}", f"{means[metric]:.3f}", *nothing] for kind, means in row.get("kinds", {}).items()]
    return [whole, *kinds]
