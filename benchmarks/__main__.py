"""python -m benchmarks: one command per benchmark file."""

from __future__ import annotations

import typer

from .head import head
from .index import index
from .ingest import ingest
from .load import load
from .room import room
from .triplets import triplets

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("ingest")(ingest)
app.command("head")(head)
app.command("index")(index)
app.command("load")(load)
app.command("room")(room)
app.command("triplets")(triplets)


@app.callback()
def main() -> None:
    """Measure in one run what is to be compared, in interleaved rounds; report medians and the ratios of the rounds."""


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
