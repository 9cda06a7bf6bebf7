"""python -m benchmarks: one command per benchmark file."""

from __future__ import annotations

import typer

from splade_ptbr_connectors.errors import SpladeConnectorsError

from .embedded import embedded
from .encode import encode
from .first_use import first_use
from .head import head
from .index import index
from .ingest import ingest
from .load import load
from .prune import prune
from .room import room
from .roundtrip import roundtrip
from .run import run
from .triplets import triplets

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("ingest")(ingest)
app.command("embedded")(embedded)
app.command("encode")(encode)
app.command("first-use")(first_use)
app.command("head")(head)
app.command("index")(index)
app.command("load")(load)
app.command("prune")(prune)
app.command("room")(room)
app.command("roundtrip")(roundtrip)
app.command("run")(run)
app.command("triplets")(triplets)


@app.callback()
def main() -> None:
    """Measure in one run what is to be compared, in interleaved rounds; report medians and the ratios of the rounds."""


def run_application() -> None:
    """Run a command; an expected error is one line and exit code 2."""
    try:
        app(prog_name="python -m benchmarks")
    except SpladeConnectorsError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    run_application()
