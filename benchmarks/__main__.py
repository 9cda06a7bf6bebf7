"""python -m benchmarks: one command per benchmark file."""

from __future__ import annotations

import typer

from splade_ptbr_connectors.errors import MissingExtraError, SpladeConnectorsError

try:
    from benchmarks.comparison.prune import prune
    from benchmarks.comparison.run import run
    from benchmarks.encoding.encode import encode
    from benchmarks.encoding.models import models
    from benchmarks.hybrid.hybrid import hybrid
    from benchmarks.index.growth import growth
    from benchmarks.index.index import index
    from benchmarks.passages.judged import judged
    from benchmarks.passages.long import long
    from benchmarks.stores.cluster import cluster
    from benchmarks.stores.distributed import distributed
    from benchmarks.stores.embedded import embedded
    from benchmarks.stores.faces import faces
    from benchmarks.stores.first_use import first_use
    from benchmarks.stores.ingest import ingest
    from benchmarks.stores.load import load
    from benchmarks.stores.passages import passages
    from benchmarks.stores.roundtrip import roundtrip
    from benchmarks.stores.storage_cost import room
    from benchmarks.training.head import head
    from benchmarks.training.triplets import triplets
except (ModuleNotFoundError, MissingExtraError) as error:
    missing = error.name if isinstance(error, ModuleNotFoundError) else str(error)
    command = 'pip install --editable ".[all]" --group train --group bench'
    typer.echo(f"error: not installed: {missing}. The benchmarks need what all extras need; in the clone: {command}", err=True)
    raise SystemExit(2) from error

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("ingest")(ingest)
app.command("cluster")(cluster)
app.command("distributed")(distributed)
app.command("embedded")(embedded)
app.command("encode")(encode)
app.command("faces")(faces)
app.command("first-use")(first_use)
app.command("growth")(growth)
app.command("head")(head)
app.command("hybrid")(hybrid)
app.command("index")(index)
app.command("judged")(judged)
app.command("load")(load)
app.command("long")(long)
app.command("models")(models)
app.command("passages")(passages)
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
