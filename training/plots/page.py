"""The page that shows the pictures of runs with their figures as tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.plots.dashboard import measured_last
from training.plots.html import document, figure, table
from training.plots.picture import NamedRun, ShownPicture
from training.plots.style import number
from training.recipe.tables import differences, flat, shown


def page(runs: Sequence[tuple[NamedRun, list[ShownPicture]]], compared: ShownPicture | None = None) -> str:
    """The text of index.html."""
    names = ", ".join(run.label for run, _ in runs)
    body = [f"<h1>{escape(names)}</h1>"]
    if compared is not None:
        body += [figure(compared), _differences([run for run, _ in runs])]
    for run, pictures in runs:
        body.append(f"<h2>{escape(run.label)}</h2>" if compared is not None else "")
        body += [_summary(run), *map(figure, pictures), _validations(run), _hot_terms(run), _recipe(run)]
    return document(names, body)


def _summary(run: NamedRun) -> str:
    log, chosen = run.log, run.log.chosen
    facts = [("optimiser steps", f"{log.steps_done:,}"), ("time in steps and validations", duration(log.seconds))]
    facts.append(("ended", log.end.reason if log.end else "not yet, or killed"))
    if chosen is not None:
        facts.append((f"chosen checkpoint, mean {chosen.metric}", f"{number(chosen.mean)} at step {chosen.step:,}"))
    for name, label in (("loss", "last loss"), ("terms_query", "last terms per query"), ("terms_document", "last terms per document")):
        facts.append((label, number(log.steps.last(name))))
    return table(("", ""), facts)


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _validations(run: NamedRun) -> str:
    validations = run.log.validations
    if not validations:
        return "<p>No validation yet.</p>"
    splits = list(dict.fromkeys(name for validation in validations for name in validation.splits))
    means = ("terms per query", "terms per document", "evaluation FLOPS")
    head = ("step", f"mean {validations[-1].metric}", *splits, *means, "could be chosen")
    rows = []
    for validation in validations:
        qualities = [number(validation.splits[name].quality) if name in validation.splits else "-" for name in splits]
        sizes = [number(validation.mean_of(name)) for name in ("terms_query", "terms_document", "evaluation_flops")]
        verdict = "yes" if validation.eligible else f"no: {validation.reason or 'no reason logged'}"
        if validation is run.log.chosen:
            verdict = "chosen"
        rows.append((f"{validation.step:,}", number(validation.mean), *qualities, *sizes, verdict))
    marked = next((i for i, validation in enumerate(validations) if validation is run.log.chosen), None)
    return "<h3>Validations</h3>" + table(head, rows, marked=marked)


def _hot_terms(run: NamedRun) -> str:
    last = measured_last(run)
    if last is None:
        return ""
    counts = ("quality", "terms_query", "terms_document", "evaluation_flops", "dead_terms", "empty_queries", "empty_documents", "queries")
    rows = [(name, *(number(getattr(split, count)) for count in counts), _hot(split.hot_terms)) for name, split in last.splits.items()]
    head = ("split", last.metric, *(count.replace("_", " ") for count in counts[1:]), "hot terms (share of documents)")
    return f"<h3>{'The saved model' if last.packed else f'Vectors at step {last.step:,}'}</h3>{table(head, rows)}"


def _hot(terms: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{token} {100 * share:.0f} %" for token, share in terms) or "-"


def _differences(runs: Sequence[NamedRun]) -> str:
    found = differences([run.log.start.recipe for run in runs])
    if not found:
        return "<p>The recipes are equal.</p>"
    rows = [(key, *map(shown, values)) for key, values in found.items()]
    return "<h3>Where the recipes differ</h3>" + table(("key", *(run.label for run in runs)), rows)


def _recipe(run: NamedRun) -> str:
    rows = [(key, shown(value)) for key, value in flat(run.log.start.recipe).items()]
    return f"<details><summary>Resolved recipe of {escape(run.label)}</summary>{table(('key', 'value'), rows)}</details>"
