"""Options that several commands share, each also settable by an environment variable SPLADE_PTBR_*."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from ..numerals import value_of
from ..stores import SERVERS, STORE_URLS

if TYPE_CHECKING:
    from ..encoding.encoder import SpladeEncoder
    from ..stores.base import Store

PREFIX = "SPLADE_PTBR_"
OFF = "off"  # in the place of NAME=VALUE of --passages


class OnLongChoice(StrEnum):
    """What happens to a text that is longer than the model's limit."""

    windows = "windows"
    truncate = "truncate"
    error = "error"


class RuntimeChoice(StrEnum):
    """What runs the network."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


Json = Annotated[bool, typer.Option("--json", help="Write exactly one JSON document to stdout.")]
CREDENTIALS = (
    "Credentials of a server come from the environment alone, never from the URL or an option: "
    f"{', '.join(f'{PREFIX}{server.upper()}_API_KEY' for server in SERVERS)}; where it knows users, _USER and _PASSWORD instead; "
    "_CA_CERTS (file), _VERIFY=0."
)
StoreUrl = Annotated[str, typer.Option("--store", envvar=PREFIX + "STORE", metavar="URL", help=f"Where the vectors are: {STORE_URLS}.")]
ServerUrl = Annotated[str, typer.Option("--store", envvar=PREFIX + "STORE", metavar="URL", help="A collection or alias on a server.")]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", envvar=PREFIX + "TENANT", help="Whose documents: every read and write is restricted to this tenant."),
]
Best = Annotated[int, typer.Option("--best", help="Score a document by the mean of so many of its best passages, 1 to 100.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="A setting of the engine for a new store, e.g. datatype=float16; repeatable."),
]
OpenSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--setting", metavar="NAME=VALUE", help="A setting of the engine to open the store with, e.g. read_only=true of numba:; repeatable."
    ),
]
Passages = Annotated[
    list[str] | None,
    typer.Option(
        "--passages", metavar="NAME=VALUE", help="How long texts are split in a new store, e.g. passage_tokens=200, or off; repeatable."
    ),
]
Model = Annotated[str, typer.Option("--model", envvar=PREFIX + "MODEL", help="Shipped name, folder or hub id.")]
StoreModel = Annotated[
    str | None, typer.Option("--model", envvar=PREFIX + "MODEL", help="Shipped name, folder or hub id (default: the store's own).")
]
RuntimeOption = Annotated[
    RuntimeChoice, typer.Option("--runtime", envvar=PREFIX + "RUNTIME", help="auto takes the ONNX graph if there is one.")
]
Device = Annotated[str | None, typer.Option("--device", envvar=PREFIX + "DEVICE", help="cpu, cuda, ...")]
BatchSize = Annotated[int, typer.Option("--batch-size", envvar=PREFIX + "BATCH_SIZE", help="Texts in a forward pass of the encoder.")]
OnLongOption = Annotated[
    OnLongChoice,
    typer.Option("--on-long", envvar=PREFIX + "ON_LONG", help="Texts over the model's limit: overlapping windows, cut, or refused."),
]
DeadLetter = Annotated[
    Path | None, typer.Option("--dead-letter", envvar=PREFIX + "DEAD_LETTER", help="JSONL file for rejected records: line, reason, record.")
]
AllowRejected = Annotated[bool, typer.Option("--allow-rejected", help="Exit with 0 even if records were rejected.")]


def load_encoder(
    model: str,
    *,
    runtime: RuntimeChoice = RuntimeChoice.auto,
    device: str | None = None,
    batch_size: int = 32,
    on_long: OnLongChoice = OnLongChoice.windows,
    preload: bool = True,
) -> SpladeEncoder:
    """Load the encoder that the options describe; with `preload` off its network waits for the first text."""
    from ..encoding.encoder import SpladeEncoder

    return SpladeEncoder.load(model, runtime=runtime.value, device=device, batch_size=batch_size, on_long=on_long.value, preload=preload)


def open_filled_store(url: str, model: str | None, tenant: str | None = None, settings: Sequence[str] | None = None) -> Store:
    """Open a store that must exist, with the model named, or the one that it was filled with (settings included)."""
    from ..stores import open_store

    return open_store(url, encoder=model, create=False, tenant=tenant, settings=read_settings(settings))


def read_passages(given: Sequence[str] | None) -> dict[str, str | int | float | bool] | bool | None:
    """As open_store() takes them. Raises ConfigError."""
    if OFF not in (given or ()):
        return read_settings(given, "--passages") or None
    if set(given or ()) != {OFF}:
        raise ConfigError(f"--passages {OFF} keeps texts whole, so it stands alone: leave it out, or the other --passages.")
    return False


def read_settings(given: Sequence[str] | None, option: str = "--setting") -> dict[str, str | int | float | bool]:
    """NAME=VALUE texts by name; numbers, true and false become what they say. Raises ConfigError for anything else."""
    settings: dict[str, str | int | float | bool] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            example = f"passage_tokens=200, or {OFF}" if option == "--passages" else "datatype=float16"
            raise ConfigError(f"{option} {text!r} is not NAME=VALUE, such as {example}.")
        if name in settings:
            raise ConfigError(f"{option} {name} is given twice: leave one out.")
        settings[name] = value_of(value)
    return settings
