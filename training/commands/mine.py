"""python -m training mine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.numerals import integer
from training.commands.options import BatchSizeOption, DeviceOption, JsonOption, SetOption

if TYPE_CHECKING:
    from splade_ptbr_connectors.evaluation.collections import JudgedCollection
    from training.mining.negatives import Draw


def mine(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, hub id or shipped name of the model that retrieves.")],
    collection: Annotated[str, typer.Option(help="A BEIR folder, or a file of documents (then --queries and --qrels).")],
    out: Annotated[Path, typer.Option(help="JSONL, one line for each query and positive.")],
    queries: Annotated[str | None, typer.Option(help="File of queries.")] = None,
    qrels: Annotated[str | None, typer.Option(help="File of judgments.")] = None,
    split: Annotated[str, typer.Option(help="Split of a BEIR folder.")] = "train",
    depth: Annotated[int, typer.Option(help="Ranks that negatives are drawn from.")] = 200,
    negatives: Annotated[int, typer.Option(help="Drawn for each line.")] = 50,
    draw: Annotated[
        list[str] | None, typer.Option(metavar="N:DEPTH", help="Instead of both; SPLADE-v3: --draw 50:50 --draw 50:1000.")
    ] = None,
    skip_top: Annotated[int, typer.Option(help="First ranks that are never taken.")] = 0,
    max_share_of_positive: Annotated[
        float, typer.Option(help="Candidates of at least this share of the positive's score are taken for false negatives; inf keeps them.")
    ] = 0.95,
    teacher_run: Annotated[Path | None, typer.Option(help="TREC run of a teacher: negatives must score below the positive.")] = None,
    teacher_margin: Annotated[float, typer.Option(help="By more than this.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    as_json: JsonOption = False,
    set_: SetOption = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 32,
) -> None:
    """Mine hard negatives: what a model retrieves, without known positives, copies of them and likely false negatives."""
    from splade_ptbr_connectors.evaluation.runs import read_run
    from training.commands.chosen import load_encoder
    from training.mining.mine import mine as mine_collection
    from training.mining.negatives import Draw, Selection

    draws = tuple(map(_draw, draw)) if draw else (Draw(negatives, depth),)
    selection = Selection(draws, skip_top, max_share_of_positive, teacher_margin, seed)
    teacher = read_run(teacher_run) if teacher_run else None
    chosen = _collection(collection, queries, qrels, split)
    encoder = load_encoder(model, set_ or (), device=device, batch_size=batch_size)
    report = mine_collection(encoder, chosen, out, selection, teacher=teacher, resume=resume, progress=True)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "about": chosen.counts.describe(), **report.to_dict()}, indent=1, ensure_ascii=False))
    else:
        _show(out, chosen, report.to_dict())


def _draw(text: str) -> Draw:
    from training.mining.negatives import Draw

    count, colon, depth = text.partition(":")
    numbers = integer(count), integer(depth)
    if not colon or numbers[0] is None or numbers[1] is None:
        raise ConfigError(f"{text!r} is not a draw: write N:DEPTH, e.g. 50:1000 for 50 negatives from the first 1000 ranks.")
    return Draw(numbers[0], numbers[1])


def _collection(collection: str, queries: str | None, qrels: str | None, split: str) -> JudgedCollection:
    from splade_ptbr_connectors.evaluation.collections import collection_from_files
    from training.commands.chosen import split_of

    if queries is None and qrels is None:
        return split_of(Path(collection), split)
    if queries is None or qrels is None:
        raise ConfigError("only one of --queries and --qrels is given: name both files, or neither for a BEIR folder.")
    return collection_from_files(Path(collection).name, documents=collection, queries=queries, qrels=qrels)


def _show(out: Path, collection: JudgedCollection, report: dict[str, Any]) -> None:
    typer.echo(f"{out}: {report['lines']:,} lines, {report['negatives']:,} negatives; {report['short']:,} lines have fewer than asked for")
    typer.echo(collection.counts.describe())
    for what, counts in (("candidates removed", report["removed"]), ("pairs left out", report["left_out"])):
        for reason, count in sorted(counts.items()):
            named = report["examples"].get(reason, []) if what == "pairs left out" else []
            typer.echo(f"{what}: {count:,} {reason}" + (f" (queries {', '.join(named)} ...)" if named else ""))
