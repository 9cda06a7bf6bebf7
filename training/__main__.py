"""Command line of the training: `python -m training --help`. The only place that writes to the terminal."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from splade_ptbr_connectors.errors import SpladeConnectorsError
from training.config import Recipe, load_recipe, recipe_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate and pack learned sparse models.")
DEFAULT_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
DataOption = Annotated[Path, typer.Option("--data", envvar="SPLADE_DATA", help="Folder of the shared data.")]


@app.callback()
def _logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for noisy in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@app.command()
def train(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE")],
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option(help="Output folder; default runs/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved recipe and stop.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint of the output folder.")] = False,
    card: Annotated[bool, typer.Option(help="Measure the test splits at the end and write the model card.")] = True,
) -> None:
    """Train a recipe: checkpoints and log in OUT, the packed model in OUT/model."""
    recipe = load_recipe(recipe_file)
    if dry_run:
        typer.echo(json.dumps(recipe_table(recipe), indent=2, ensure_ascii=False))
        return
    folder = out or Path("runs") / recipe.name
    train_recipe(recipe, data, folder, resume=resume)
    if card:
        write_card(folder / "model", data)


def train_recipe(recipe: Recipe, data_dir: Path, out: Path, *, resume: bool = False) -> Path:
    """Trains and packs; the folder of the model."""
    from training.data import load_training_data
    from training.loop import LOG, Trainer
    from training.model import build_model
    from training.pack import pack, prepare

    data = load_training_data(recipe.data, data_dir, seed=recipe.seed)
    trainer = Trainer(build_model(recipe, data, data_dir), recipe, data, out)
    if not (resume and trainer.resume()):
        (out / LOG).unlink(missing_ok=True)
    trainer.run()
    prepare(trainer.model, expansion=any(stage.contextual and stage.expansion for stage in recipe.stages), storage=recipe.storage)
    trainer.evaluate("packed")
    folder = out / "model"
    pack(trainer.model, recipe, data.vocabulary, folder)
    (folder / "recipe.json").write_text(json.dumps(recipe_table(recipe), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def write_card(folder: Path, data_dir: Path) -> None:
    """Measures every test split and writes README.md into the folder."""
    from training.card import model_card, test_table

    (folder / "README.md").write_text(model_card(folder, test_table(folder, data_dir)), encoding="utf-8")


@app.command()
def card(folder: Path, data: DataOption = DEFAULT_DATA) -> None:
    """Measure a packed model on every test split and write its model card."""
    write_card(folder, data)


@app.command()
def evaluate(
    folder: Path,
    data: DataOption = DEFAULT_DATA,
    split: Annotated[str, typer.Option(help="Split of every collection that has it.")] = "test",
    bm25: Annotated[bool, typer.Option(help="Stemmed BM25 as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """nDCG@10 of a packed model, with its terms per query and per document."""
    from training.card import split_table

    rows = split_table(folder, data, split=split, bm25=bm25)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        baseline = f"  BM25 {row['bm25']:.3f}" if bm25 else ""
        terms = f"{row['terms_query']:.1f} terms a query, {row['terms_document']:.0f} a document"
        typer.echo(f"{row['split']:24} nDCG@10 {row['ndcg10']:.3f}{baseline}  {terms}")


def main() -> None:
    """Runs the command line; an expected error is one line and exit code 2."""
    try:
        app()
    except SpladeConnectorsError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
