"""python -m training evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.options import DEFAULT_DATA, DataOption

SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the model, e.g. max_active_terms_document=128.")
]
SplitOption = Annotated[str, typer.Option(help="Split of every collection that has it.")]
CollectionOption = Annotated[list[Path] | None, typer.Option("--collection", help="A BEIR folder; instead of --data.")]
FilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--files", metavar="[NAME=]COLLECTION,QUERIES,QRELS", help="TSV, JSONL or TREC files, or hub:owner/name/path; instead of --data."
    ),
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...")]
BatchSizeOption = Annotated[int, typer.Option(help="Texts encoded at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


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
    from training.evaluating import chosen_collections, evaluation_row, load_encoder, write_runs
    from training.evaluating import evaluate as evaluate_one

    encoder = load_encoder(model, set_ or (), device=device, batch_size=batch_size)
    rows, runs = [], {}
    for judged in chosen_collections(data, split, collection or (), files or ()):
        measured, found = evaluate_one(encoder, judged, metric or ["nDCG@10"], progress=True)
        rows.append(evaluation_row(measured, judged, encoder, bm25=bm25))
        if run_out:
            runs[judged.name] = found
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
        columns = ["collection", "queries", metric, *(["BM25"] if baseline else []), "terms a query", "terms a document"]
        lines = [
            [row["collection"], f"{row['queries']:,}", f"{row['measures'][metric]:.3f}"]
            + ([f"{row['bm25'][metric]:.3f}"] if baseline else [])
            + [f"{row['terms_query']:.1f}", f"{row['terms_document']:.0f}"]
            for row in rows
        ]
        show_table(console, columns, lines, numeric=range(1, len(columns)))
    for row in rows:
        console.print(f"{row['collection']}: {row['about']}.", markup=False)
