"""What the page of runs shows: their pictures, and their figures as tables. templates/runs.html says how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splade_ptbr_connectors.plots.html import rendered_page
from splade_ptbr_connectors.plots.picture import ShownPicture
from splade_ptbr_connectors.plots.text import duration, flat, number
from training.plots.dashboard import measured_last
from training.plots.runs import NamedRun
from training.recipe.tables import differences, shown
from training.runlog import SplitResult

TEMPLATE = Path(__file__).parent / "templates" / "runs.html"
SIZES = ("terms_query", "terms_document", "evaluation_flops", "dead_terms", "empty_queries", "empty_documents", "queries")
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Table:
    """Cells as text; `marked` is the row to emphasise."""

    title: str
    head: tuple[str, ...]
    rows: Rows
    marked: int | None = None


@dataclass(frozen=True)
class RunSection:
    """One run on the page; None is what was not measured yet."""

    label: str
    facts: Rows
    pictures: list[ShownPicture]
    validations: Table | None
    vectors: Table | None
    recipe: Rows


def page(runs: Sequence[tuple[NamedRun, list[ShownPicture]]], compared: ShownPicture | None = None) -> str:
    """The text of index.html."""
    labels = [run.label for run, _ in runs]
    differing = differences([run.log.start.recipe for run, _ in runs]) if compared is not None else {}
    return rendered_page(
        TEMPLATE,
        title=", ".join(labels),
        labels=labels,
        compared=compared,
        differences=[(key, *map(shown, values)) for key, values in differing.items()],
        runs=[_section(run, pictures) for run, pictures in runs],
    )


def _section(run: NamedRun, pictures: list[ShownPicture]) -> RunSection:
    recipe: Rows = [(key, shown(value)) for key, value in flat(run.log.start.recipe).items()]
    return RunSection(run.label, _facts(run), pictures, _validations(run), _vectors(run), recipe)


def _facts(run: NamedRun) -> Rows:
    log, chosen = run.log, run.log.chosen
    facts: Rows = [("optimiser steps", f"{log.steps_done:,}"), ("time in steps and validations", duration(log.seconds))]
    facts.append(("ended", log.end.reason if log.end else "not yet, or killed"))
    if chosen is not None:
        facts.append((f"chosen checkpoint, mean {chosen.metric}", f"{number(chosen.mean)} at step {chosen.step:,}"))
    for name, label in (("loss", "last loss"), ("terms_query", "last terms per query"), ("terms_document", "last terms per document")):
        facts.append((label, number(log.steps.last(name))))
    return facts


def _validations(run: NamedRun) -> Table | None:
    validations = run.log.validations
    if not validations:
        return None
    splits = list(dict.fromkeys(name for validation in validations for name in validation.splits))
    means = ("terms per query", "terms per document", "evaluation FLOPS")
    head = ("step", f"mean {validations[-1].metric}", *splits, *means, "could be chosen")
    rows: Rows = []
    for validation in validations:
        qualities = [number(validation.splits[name].quality) if name in validation.splits else "-" for name in splits]
        sizes = [number(validation.mean_of(name)) for name in ("terms_query", "terms_document", "evaluation_flops")]
        verdict = "yes" if validation.eligible else f"no: {validation.reason or 'no reason logged'}"
        if validation is run.log.chosen:
            verdict = "chosen"
        rows.append((f"{validation.step:,}", number(validation.mean), *qualities, *sizes, verdict))
    marked = next((i for i, validation in enumerate(validations) if validation is run.log.chosen), None)
    return Table("Validations", head, rows, marked)


def _vectors(run: NamedRun) -> Table | None:
    last = measured_last(run)
    if last is None:
        return None
    title = "The saved model" if last.packed else f"Vectors at step {last.step:,}"
    head = ("split", last.metric, *(name.replace("_", " ") for name in SIZES), "hot terms (share of documents)")
    rows: Rows = [
        (name, *(number(getattr(split, figure)) for figure in ("quality", *SIZES)), _hot(split)) for name, split in last.splits.items()
    ]
    return Table(title, head, rows)


def _hot(split: SplitResult) -> str:
    return ", ".join(f"{token} {100 * share:.0f} %" for token, share in split.hot_terms) or "-"
