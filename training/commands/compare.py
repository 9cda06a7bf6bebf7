"""python -m training compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.commands.options import (
    DEFAULT_DATA,
    BatchSizeOption,
    CollectionOption,
    DataOption,
    DeviceOption,
    FilesOption,
    JsonOption,
    SplitOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from training.measure.saved_models import ComparedCollection

SHOWN_CHANGES = 5
QUALITY = ("collection", "queries", "A", "B", "difference", "95% interval")
TESTS = ("collection", "won/tied/lost", "p", "p (Holm)", "p (t-test)")
SIZES = ("collection", "terms per query A", "B", "terms per document A", "B", "FLOPS A", "B")


def compare(
    model_a: Annotated[
        str, typer.Argument(metavar="MODEL_A", help="Folder (ours, sentence-transformers', a masked LM), hub id or shipped name.")
    ],
    model_b: Annotated[str, typer.Argument(metavar="MODEL_B", help="The same; differences are B minus A.")],
    data: DataOption = DEFAULT_DATA,
    split: SplitOption = "test",
    collection: CollectionOption = None,
    files: FilesOption = None,
    metric: Annotated[str, typer.Option(help="A measure with a cut-off.")] = "nDCG@10",
    permutations: Annotated[int, typer.Option(help="Sign changes drawn by the randomisation test.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the randomisation test and the bootstrap.")] = 0,
    as_json: JsonOption = False,
    set_a: Annotated[list[str] | None, typer.Option("--set-a", metavar="KEY=VALUE", help="A setting of model A.")] = None,
    set_b: Annotated[list[str] | None, typer.Option("--set-b", metavar="KEY=VALUE", help="A setting of model B.")] = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 32,
) -> None:
    """Compare two models over the same queries: means, paired tests, and the terms that the quality was paid with."""
    from training.commands.chosen import chosen_collections, load_encoder
    from training.measure.saved_models import compare as compare_models

    a = load_encoder(model_a, set_a or (), device=device, batch_size=batch_size)
    b = load_encoder(model_b, set_b or (), device=device, batch_size=batch_size)
    collections = chosen_collections(data, split, collection or (), files or ())
    compared = compare_models(a, b, collections, metric, seed=seed, permutations=permutations, progress=True)
    if as_json:
        document = {"model_a": model_a, "model_b": model_b, "set_a": set_a or [], "set_b": set_b or [], "seed": seed}
        rows = [one.to_dict() for one in compared]
        typer.echo(json.dumps(document | {"permutations": permutations, "collections": rows}, indent=1, ensure_ascii=False))
    else:
        _show(compared, [model_a, *(set_a or [])], [model_b, *(set_b or [])])


def _show(compared: Sequence[ComparedCollection], a: list[str], b: list[str]) -> None:
    from splade_ptbr_connectors.cli.console import human_console, show_table

    console = human_console()
    console.print(f"A: {' '.join(a)}\nB: {' '.join(b)}\n{compared[0].comparison.metric}, differences are B - A", markup=False)
    for columns, row_of in ((QUALITY, _quality), (TESTS, _tests), (SIZES, _sizes)):
        show_table(console, columns, [row_of(one) for one in compared], numeric=range(1, len(columns)))
    for one in compared:
        _show_changes(one, console)
    console.print(
        "p: two-sided paired randomisation test; Holm: corrected over the collections; won: queries for which B is better", markup=False
    )


def _quality(one: ComparedCollection) -> list[str]:
    c = one.comparison
    interval = f"{c.interval[0]:+.3f} to {c.interval[1]:+.3f}"
    return [c.name, f"{c.queries:,}", f"{c.mean_a:.3f}", f"{c.mean_b:.3f}", f"{c.difference:+.3f}", interval]


def _tests(one: ComparedCollection) -> list[str]:
    c = one.comparison
    return [c.name, f"{c.wins}/{c.ties}/{c.losses}", _p(c.p_randomisation), _p(c.p_holm), _p(c.p_t_test)]


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _sizes(one: ComparedCollection) -> list[str]:
    a, b = one.a, one.b
    terms = [f"{a.terms_query:.1f}", f"{b.terms_query:.1f}", f"{a.terms_document:.0f}", f"{b.terms_document:.0f}"]
    return [a.name, *terms, f"{a.evaluation_flops:.2f}", f"{b.evaluation_flops:.2f}"]


def _show_changes(one: ComparedCollection, console: Console) -> None:
    changes: list[Any] = list(one.comparison.changed[:SHOWN_CHANGES])
    if changes:
        shown = ", ".join(f"{change.query_id} {change.a:.2f} -> {change.b:.2f}" for change in changes)
        console.print(f"{one.comparison.name}, changed most: {shown}", markup=False)
