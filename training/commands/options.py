"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[Path, typer.Option("--data", envvar="SPLADE_DATA", help="Folder that a recipe's paths are relative to.")]
DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
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
