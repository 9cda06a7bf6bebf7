"""splade-ptbr demo."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError
from .console import emit, note, show_hits
from .options import PREFIX, Json, Model, load_encoder

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "edge:splade-demo/{fingerprint}"  # one folder per model: another version of it does not meet the old vectors
NEXT_STEPS = """\
from splade_ptbr_connectors import SpladeEncoder, ingest, open_store
store = open_store("edge:my-documents", encoder=SpladeEncoder.load("mini"))
ingest([{"_id": "1", "title": "", "text": "O prazo para recorrer da multa é de 30 dias."}], store)
print(store.search("até quando posso recorrer de uma multa?"))"""


def demo(
    store: Annotated[
        str, typer.Option("--store", envvar=PREFIX + "DEMO_STORE", metavar="URL", help="Where the sample vectors go.")
    ] = DEFAULT_STORE,
    model: Model = "mini",
    as_json: Json = False,
) -> None:
    """Run the main job on a sample collection: encode, load, search through LangChain, compare with BM25."""
    _check_extras()
    from ..demo.run import ask, compare, load_sample
    from ..stores import open_store

    started = time.perf_counter()
    encoder = load_encoder(model)
    store = store.format(fingerprint=encoder.fingerprint[:12])
    note(f"model {encoder.name} loaded in {time.perf_counter() - started:.1f} s; loading the sample into {store}")
    with open_store(store, encoder=encoder, create=True) as opened:
        document: dict[str, Any] = {
            "model": encoder.name,
            "store": opened.url,
            "ingest": load_sample(opened),
            "questions": ask(opened),
            "quality": compare(opened),
        }
    document["seconds"] = time.perf_counter() - started
    emit(document, _render, as_json=as_json)


def _check_extras() -> None:
    missing = [library for library in ("langchain_core", "ir_measures", "bm25s", "Stemmer") if find_spec(library) is None]
    if missing:
        raise MissingExtraError(f"the demo ({', '.join(missing)})", "demo")


def _render(document: dict[str, Any], console: Console) -> None:
    report = document["ingest"]
    _rule(console, "1. Encode and load")
    console.print(
        f"{report['read']} Portuguese passages, model {document['model']}: {report['written']} written to {document['store']}, "
        f"{report['unchanged']} already there, {report['rejected']} rejected, {report['seconds']:.1f} s",
        markup=False,
    )
    _rule(console, "2. Search through the LangChain retriever")
    for asked in document["questions"]:
        console.print(f"\n[bold magenta]? {asked['question']}[/bold magenta]  [dim]{asked['latency_ms']:.1f} ms[/dim]")
        show_hits(console, asked["hits"], lines=2)
    _rule(console, "3. Quality")
    _show_quality(console, document["quality"])
    _rule(console, "4. Your own documents")
    console.print(NEXT_STEPS, style="cyan", markup=False)
    console.print(f"\nor: splade-ptbr ingest corpus.jsonl --store edge:my-documents\n\ndone in {document['seconds']:.1f} s", markup=False)


def _rule(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}[/bold]", align="left", characters="─")


def _show_quality(console: Console, quality: dict[str, Any]) -> None:
    width = max(map(len, quality["systems"]))
    for name, value in quality["systems"].items():
        console.print(f"{quality['measure']}  {name:<{width}}  {value:.3f}  {'█' * round(40 * value)}", markup=False)
    console.print(f"[dim]over {quality['queries']} judged queries of the sample: too few to rank models by[/dim]")
