"""splade-ptbr evaluate --store URL --queries F --qrels F."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .console import counted, emit, note, show_table
from .exit_codes import exit_code_of
from .options import PREFIX, Best, Json, OpenSettings, StoreModel, StoreUrl, Tenant, open_filled_store

if TYPE_CHECKING:
    from rich.console import Console

    from ..evaluation.runs import Run


def evaluate(
    store: StoreUrl,
    queries: Annotated[Path, typer.Option("--queries", envvar=PREFIX + "QUERIES", help="Queries with _id and text, as JSONL, CSV or TSV.")],
    qrels: Annotated[Path, typer.Option("--qrels", envvar=PREFIX + "QRELS", help="Judgments: BEIR's TSV or TREC's qrels.")],
    best: Best = 1,
    run: Annotated[Path | None, typer.Option("--run", help="Write the run here, in TREC's format.")] = None,
    tenant: Tenant = None,
    model: StoreModel = None,
    setting: OpenSettings = None,
    as_json: Json = False,
) -> None:
    """Measure a store against relevance judgments: nDCG@10, nDCG@20, RR@10, R@100, R@1000."""
    from ..evaluation.evaluate import evaluate as evaluate_store
    from ..evaluation.qrels import read_qrels
    from ..evaluation.queries import read_queries

    judgments, texts = read_qrels(qrels), read_queries(queries)
    with open_filled_store(store, model, tenant, setting) as opened:
        evaluation = evaluate_store(opened, texts, judgments, best=best, progress=True)
        names = {"store": opened.url, "model": opened.encoder.name}
    failure = None if run is None else _failure(run, evaluation.run)
    document = {**names, **evaluation.to_dict(), "run": None if run is None or failure else str(run)}
    if failure is None:
        emit(document, _render, as_json=as_json)
        return
    error = {"type": type(failure).__name__, "message": " ".join(str(failure).split())}
    emit({**document, "error": error}, _render, as_json=as_json)  # the measures are not lost with the file
    note(f"error: {error['message']}")
    raise typer.Exit(exit_code_of(failure))


def _failure(path: Path, run: Run) -> InputError | None:
    """Write the run; why it could not be written, if so."""
    from ..evaluation.runs import write_run

    try:
        write_run(path, run)
    except InputError as error:
        return error
    return None


def _render(document: dict[str, Any], console: Console) -> None:
    rows = [(name, f"{value:.4f}") for name, value in document["measures"].items()]
    show_table(console, ("measure", "mean"), rows, numeric=(1,))
    console.print(
        f"over {counted(document['queries'], 'judged query', 'judged queries')}, {document['unanswered']:,} of them without a hit"
    )
    if document["missing_relevant_documents"]:
        console.print(f"not in the store: {counted(document['missing_relevant_documents'], 'relevant document')}", style="yellow")
    console.print(
        f"{document['mean_latency_ms']:.1f} ms and {document['mean_terms_per_query']:.1f} terms a query, model {document['model']}",
        markup=False,
    )
    if document["run"]:
        console.print(f"run written to {document['run']}", markup=False)
