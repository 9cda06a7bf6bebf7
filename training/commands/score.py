"""python -m training score."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import DeviceOption, JsonOption


def score(
    mined: Annotated[Path, typer.Argument(metavar="MINED", help="JSONL that `mine` wrote.")],
    out: Annotated[Path, typer.Option(help='The same lines with "scores".')],
    teacher: Annotated[list[str] | None, typer.Option(help="A cross-encoder, folder or hub id.")] = None,
    teacher_t5: Annotated[list[str] | None, typer.Option(help="A T5 reranker such as MonoPTT5, folder or hub id.")] = None,
    teacher_sparse: Annotated[list[str] | None, typer.Option(help="A sparse model, folder, hub id or shipped name.")] = None,
    teacher_run: Annotated[list[Path] | None, typer.Option(help="A TREC run with a score for every document.")] = None,
    ensemble: Annotated[
        str,
        typer.Option(help="Of several teachers: mean, min_max, or affine (SPLADE-v3; scale of the first, in the order of these options)."),
    ] = "affine",
    template: Annotated[
        str, typer.Option(help="Prompt that the T5 reranker was trained with.")
    ] = "Query: {query} Document: {document} Relevant:",
    tokens: Annotated[str, typer.Option(help="False and true token of the T5 reranker.")] = "▁false,▁true",
    max_length: Annotated[int | None, typer.Option(help="Tokens of a pair; default: as long as the model allows, T5 512.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    as_json: JsonOption = False,
    device: DeviceOption = None,
    batch_size: Annotated[int, typer.Option(help="Pairs scored at once.")] = 32,
) -> None:
    """Score mined lines by a teacher, or by several."""
    from splade_ptbr_connectors.errors import ConfigError
    from training.commands.chosen import load_encoder
    from training.mining.score import score as score_lines
    from training.mining.teachers import RunTeacher, SparseTeacher, Teacher, cross_encoder, mono_t5

    pair = tuple(tokens.split(","))
    if len(pair) != 2:
        raise ConfigError(f"tokens is {tokens!r}: name the false and the true token with a comma between them.")
    teachers: list[Teacher] = [
        *(cross_encoder(name, batch_size=batch_size, max_length=max_length, device=device) for name in teacher or ()),
        *(
            mono_t5(name, template=template, tokens=pair, batch_size=batch_size, max_length=max_length or 512, device=device)
            for name in teacher_t5 or ()
        ),
        *(SparseTeacher(load_encoder(name, device=device, batch_size=batch_size)) for name in teacher_sparse or ()),
        *(RunTeacher(path) for path in teacher_run or ()),
    ]
    report = score_lines(mined, out, teachers, ensemble=ensemble, resume=resume, progress=True)
    if as_json:
        names = [one.name for one in teachers]
        typer.echo(json.dumps({"out": str(out), "teachers": names, "ensemble": ensemble, **asdict(report)}, indent=1, ensure_ascii=False))
    else:
        replaced = f", older scores of {report.replaced:,} lines replaced" if report.replaced else ""
        typer.echo(f"{out}: {report.lines:,} lines, {report.pairs:,} pairs scored ({report.resumed:,} lines before){replaced}")
