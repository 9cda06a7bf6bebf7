"""splade-ptbr demo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingExtraError
from ..languages import Number, fill
from .console import emit, note, show_hits, spoken
from .options import PREFIX, Json, Model, load_encoder

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "edge:splade-demo/{fingerprint}"  # one folder per model: another version of it does not meet the old vectors
NEXT_STEPS = """\
from splade_ptbr_connectors import SpladeEncoder, ingest, open_store
store = open_store("{store}", encoder=SpladeEncoder.load("mini"))
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
    store = store.replace("{fingerprint}", encoder.fingerprint[:12])
    note(fill(spoken("demo")["loading"], model=encoder.name, seconds=time.perf_counter() - started, store=store))
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
    say = spoken("demo")
    _rule(console, say["load"])
    console.print(fill(say["loaded"], model=document["model"], store=document["store"], **document["ingest"]), markup=False)
    _rule(console, say["search"])
    for asked in document["questions"]:
        console.print(f"\n[bold magenta]? {asked['question']}[/bold magenta]  [dim]{Number(asked['latency_ms']):.1f} ms[/dim]")
        show_hits(console, asked["hits"], lines=2)
    _rule(console, say["quality"])
    _show_quality(console, document["quality"], say)
    _rule(console, say["own"])
    console.print(NEXT_STEPS.replace("{store}", say["own_store"]), style="cyan", markup=False)
    console.print(f"\n{say['command'].format(store=say['own_store'])}\n\n{fill(say['done'], seconds=document['seconds'])}", markup=False)


def _rule(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}[/bold]", align="left", characters="─")


def _show_quality(console: Console, quality: dict[str, Any], say: Mapping[str, str]) -> None:
    from ..demo.run import BM25

    systems = {say["bm25"] if name == BM25 else name: value for name, value in quality["systems"].items()}
    width = max(map(len, systems))
    for name, value in systems.items():
        console.print(f"{quality['measure']}  {name:<{width}}  {Number(value):.3f}  {'█' * round(40 * value)}", markup=False)
    console.print(say["judged"].format(**quality), style="dim", markup=False)
