"""splade-ptbr export onnx MODEL OUT."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import emit
from .exit_codes import HELP
from .options import Json, RuntimeChoice, load_encoder

if TYPE_CHECKING:
    from rich.console import Console


class StorageChoice(StrEnum):
    """How the graph stores its weights, and with int8-dynamic, how it multiplies them."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    int8_dynamic = "int8-dynamic"


export = typer.Typer(help="Convert a model for another runtime.", no_args_is_help=True)


@export.callback()
def _formats() -> None: ...


@export.command(epilog=HELP)
def onnx(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Shipped name, folder or hub id.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the exported model to.")],
    storage: Annotated[
        StorageChoice, typer.Option("--storage", help="All but float32 are another model: rounded, smaller; int8-dynamic: faster.")
    ] = (StorageChoice.float32),
    as_json: Json = False,
) -> None:
    """Write a folder with the model as an ONNX graph that does the pooling, to run without torch."""
    from ..encoding.export import check_libraries, check_source, check_target
    from ..encoding.folder import find_model, shipped_models

    check_target(out, storage.value)
    if model in shipped_models():  # nobody should install libraries to be told that there is nothing to export
        check_source(find_model(model))
    check_libraries()  # before a model is downloaded
    check_source(find_model(model))
    encoder = load_encoder(model, runtime=RuntimeChoice.torch)
    path = encoder.export_onnx(out, storage=storage.value)
    exported = load_encoder(str(path), runtime=RuntimeChoice.onnx)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    emit({"model": model, "out": str(path), "bytes": size, "fingerprint": exported.fingerprint}, _render, as_json=as_json)


def _render(document: dict[str, Any], console: Console) -> None:
    console.print(f"model {document['model']} exported to {document['out']}, {document['bytes'] / 1e6:.1f} MB", markup=False)
