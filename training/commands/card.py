"""python -m training card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import InputFileError
from training.commands.options import DEFAULT_DATA, DataOption

DEFAULT_METRIC = "nDCG@10"


def card(
    run: Annotated[Path, typer.Argument(metavar="RUN|FOLDER", help="Folder of a run, or of its model.")],
    data: DataOption = DEFAULT_DATA,
    split: Annotated[str, typer.Option(help="Split of every collection that has it.")] = "test",
    metric: Annotated[list[str] | None, typer.Option("--metric", help="With a cut-off: nDCG@20, RR@10 ... [default: nDCG@10]")] = None,
    bm25: Annotated[bool, typer.Option(help="Stemmed BM25 beside the model.")] = True,
    license_: Annotated[str, typer.Option("--license", help="Of the weights, an identifier of the hub.")] = "",
    repo_id: Annotated[str | None, typer.Option(help="OWNER/NAME that the model will have on the hub.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub id of the model that was fine-tuned, if the recipe names a folder.")] = None,
    sections: Annotated[Path | None, typer.Option(help="Markdown file with further sections.")] = None,
) -> None:
    """Measure a packed model on every test split and write its model card, README.md."""
    from training.publish.card import CARD, CardOptions, model_card, run_of
    from training.runlog import read_log

    folder, log_file = run_of(run)
    log = read_log(log_file)
    chosen = license_ or str(log.start.recipe.get("license") or "")
    extra = _text_of(sections) if sections else ""
    options = CardOptions(license=chosen, repo_id=repo_id, base_model=base_model, sections=extra)
    model_card(folder, log, [], options)  # what cannot be written shows before hours of measuring
    text = model_card(folder, log, _measured(folder, data, split, metric or [DEFAULT_METRIC], bm25=bm25), options)
    write_atomically(folder / CARD, text)
    typer.echo(folder / CARD)


def _measured(folder: Path, data: Path, split: str, metrics: list[str], *, bm25: bool) -> list[dict[str, Any]]:
    from training.commands.chosen import load_encoder, splits_in
    from training.measure.saved_models import evaluate, evaluation_row

    encoder = load_encoder(str(folder))
    collections = splits_in(data, split)
    return [evaluation_row(evaluate(encoder, one, metrics, progress=True)[0], one, encoder, bm25=bm25) for one in collections]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} cannot be read as UTF-8 text: {error}.") from error
