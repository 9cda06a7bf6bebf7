"""Options that several commands share, each also settable by an environment variable SPLADE_PTBR_*."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..encoding.encoder import SpladeEncoder
    from ..stores.base import Store

PREFIX = "SPLADE_PTBR_"


class OnLong(StrEnum):
    """What happens to a text that is longer than the model's limit."""

    windows = "windows"
    truncate = "truncate"
    error = "error"


class Runtime(StrEnum):
    """What runs the network."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


Json = Annotated[bool, typer.Option("--json", help="Write exactly one JSON document to stdout.")]
StoreUrl = Annotated[str, typer.Option("--store", envvar=PREFIX + "STORE", metavar="URL", help="Where the vectors are, e.g. edge:FOLDER.")]
Model = Annotated[str, typer.Option("--model", envvar=PREFIX + "MODEL", help="Shipped name, folder or hub id.")]
StoreModel = Annotated[
    str | None, typer.Option("--model", envvar=PREFIX + "MODEL", help="Shipped name, folder or hub id (default: the store's own).")
]
RuntimeOption = Annotated[Runtime, typer.Option("--runtime", envvar=PREFIX + "RUNTIME", help="auto takes the ONNX graph if there is one.")]
Device = Annotated[str | None, typer.Option("--device", envvar=PREFIX + "DEVICE", help="cpu, cuda, ...")]
BatchSize = Annotated[int, typer.Option("--batch-size", envvar=PREFIX + "BATCH_SIZE", help="Texts encoded at once.")]
OnLongOption = Annotated[
    OnLong, typer.Option("--on-long", envvar=PREFIX + "ON_LONG", help="Texts over the model's limit: overlapping windows, cut, or refused.")
]
DeadLetter = Annotated[
    Path | None, typer.Option("--dead-letter", envvar=PREFIX + "DEAD_LETTER", help="JSONL file for rejected records: line, reason, record.")
]
AllowRejected = Annotated[bool, typer.Option("--allow-rejected", help="Exit with 0 even if records were rejected.")]


def load_encoder(
    model: str, *, runtime: Runtime = Runtime.auto, device: str | None = None, batch_size: int = 32, on_long: OnLong = OnLong.windows
) -> SpladeEncoder:
    """Load the encoder that the options describe."""
    from ..encoding.encoder import SpladeEncoder

    return SpladeEncoder.load(model, runtime=runtime.value, device=device, batch_size=batch_size, on_long=on_long.value)


def open_filled_store(url: str, model: str | None) -> Store:
    """Open a store that must exist, with the model named, or the one that it was filled with (settings included)."""
    from ..stores import open_store

    return open_store(url, encoder=model, create=False)
