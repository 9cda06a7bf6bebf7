"""Command line of the training: `python -m training --help`. One file per command in training/commands."""

from __future__ import annotations

import logging
import sys

import typer

from splade_ptbr_connectors.errors import SpladeConnectorsError
from training.commands.card import card
from training.commands.compare import compare
from training.commands.evaluate import evaluate
from training.commands.mine import mine
from training.commands.plot import plot
from training.commands.push import push
from training.commands.score import score
from training.commands.train import train

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, measure and publish learned sparse models.")
for command in (train, evaluate, mine, score, compare, card, plot, push):
    app.command(command.__name__)(command)
NOISY = ("onnxscript", "onnx_ir", "torch.onnx", "httpx", "huggingface_hub")


@app.callback()
def _logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)


def main() -> None:
    """Runs the command line; an expected error is one line and exit code 2."""
    try:
        app(prog_name="python -m training")
    except SpladeConnectorsError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
