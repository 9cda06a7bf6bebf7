"""Long documents that are judged as they are, such as those of mRobust: loaded into a store, and found by their passages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from splade_ptbr_connectors import SpladeEncoder, ingest, open_store
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.collections import Collection, Options, open_collection
from splade_ptbr_connectors.evaluation.evaluate import evaluate
from splade_ptbr_connectors.ingestion.report import IngestReport


def judged(
    collection: Annotated[str, typer.Option(help="mrobust, mmarco, a BEIR folder, ir_datasets:ID: what `run` takes, with texts.")],
    store: Annotated[str, typer.Option(help="URL of the store that is filled and searched, such as numba:mrobust.")],
    source: Annotated[Path | None, typer.Option(help="Local files of mrobust or mmarco instead of the hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Of the collection's judgments.")] = None,
    model: Annotated[str, typer.Option(help="Encodes documents and queries.")] = "mini",
    whole: Annotated[bool, typer.Option("--whole", help="Documents as one vector each, in a store of their own, to compare with.")] = False,
    top_k: Annotated[int, typer.Option(help="Documents that are asked for per query.", min=1, max=10_000)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Load a judged collection into a store, long documents by their passages, and measure how well these are found. Resumes.

    A store that holds other documents is refused: they would be ranked among those of the collection.
    """
    options: Options = {} if source is None else {"folder": source}
    opened = open_collection(collection, split=split, **options)
    encoder = SpladeEncoder.load(model)
    with open_store(store, encoder=encoder, passages=False if whole else None) as held:
        started = time.perf_counter()
        report = ingest(_records(opened), held)
        if (count := held.count()) > (own := report.read - report.rejected):
            raise ConfigError(
                f"{store} holds {count:,} documents, {own:,} are of {opened.name}: the others would be found in their places; "
                "take a new store."
            )
        seconds = time.perf_counter() - started
        found = evaluate(held, opened.queries, opened.qrels, top_k=top_k, progress=True)
        settings = {"store": store, "model": encoder.name, "passages": held.passage_settings, "collection": opened.name}
    loaded = {"read": report.read, "written": report.written, "unchanged": report.unchanged, "rejected": report.rejected}
    document = {"benchmark": "judged", **settings, "loaded": {**loaded, "seconds": seconds}, **found.to_dict(), "notes": opened.notes}
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else _table(document, report))


def _records(collection: Collection) -> Iterator[dict[str, Any]]:
    """Titles stand in front of the texts already."""
    return ({"_id": doc_id, "text": text} for doc_id, text in collection.documents())


def _table(document: dict[str, Any], report: IngestReport) -> str:
    passages, loaded = document["passages"], document["loaded"]
    split = "whole documents" if passages is None else f"passages of {passages['passage_tokens']} tokens, {passages['overlap']} of overlap"
    lines = [
        f"{document['collection']}: {split}, model {document['model']}, {document['store']}",
        f"{report.read:,} documents read, {report.written:,} written, {report.unchanged:,} unchanged, {report.rejected:,} rejected, "
        f"in {loaded['seconds']:,.0f} s",
        *document["notes"],
        "",
        "| measure | mean |",
        "| --- | ---: |",
        *(f"| {name} | {mean:.4f} |" for name, mean in document["measures"].items()),
        "",
        f"{document['queries']:,} queries, {document['unanswered']:,} without a hit, {document['mean_latency_ms']:.1f} ms a query",
    ]
    return "\n".join(lines)
