"""The model card of any run: every number in it was measured, read from the run's log or from the evaluation handed in.

A quantity that was not measured does not appear; a run without a log has no card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splade_ptbr_connectors.encoding.config import FILE_NAME as SETTINGS_FILE
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.sentence_transformers_writer import POOLING_FOLDER
from splade_ptbr_connectors.errors import ConfigError, InputFileError, ModelFormatError
from splade_ptbr_connectors.extras import require
from splade_ptbr_connectors.plots.text import duration, number
from training.publish.descriptions import (
    cell,
    described_data,
    described_losses,
    described_machine,
    described_model,
    described_queries,
    described_sparsity,
    figure,
    is_hub_id,
    markdown_table,
    published,
    trained_collections,
)
from training.recipe.tables import section
from training.runlog import FILE_NAME as LOG_FILE
from training.runlog import RunLogData

if TYPE_CHECKING:
    from jinja2 import Environment, Template

CARD = "README.md"
MODEL = "model"
TAGS = ("sentence-transformers", "sparse-encoder", "sparse", "splade")
TEMPLATES = Path(__file__).parent / "templates"
Values = dict[str, Any]
Row = Mapping[str, Any]
"""A collection's result as `training.measure.saved_models.evaluation_row` makes it."""


@dataclass(frozen=True)
class CardOptions:
    """What a card says that neither the recipe nor a measurement can.

    Attributes:
        license: of the weights, an identifier of the hub such as "apache-2.0".
        repo_id: OWNER/NAME that it will be loaded as; None: as a folder.
        base_model: hub id; None: the recipe's, when that is a hub id.
        sections: further sections, Markdown, put before the limits.
        command: what the run was started with; None: what the log says, if it does.
    """

    license: str
    repo_id: str | None = None
    base_model: str | None = None
    sections: str = ""
    command: str | None = None


def run_of(path: Path) -> tuple[Path, Path]:
    """(model folder, log) of a run's folder or of the model folder in it.

    Raises:
        InputFileError: there is not a log.
        ModelFormatError: there is no packed model.
    """
    model = path if (path / SETTINGS_FILE).is_file() else path / MODEL
    logs = [folder / LOG_FILE for folder in (path, model.parent)]
    log = next((log for log in logs if log.is_file()), None)
    if log is None:
        raise InputFileError(
            f"{path} has no {LOG_FILE} beside its model: a card says only what a run measured. Give the folder of the run."
        )
    if not (model / SETTINGS_FILE).is_file():
        raise ModelFormatError(
            f"{model} has no {SETTINGS_FILE}: the run of {log} has packed no model yet; let it end, or train with --resume."
        )
    return model, log


def model_card(folder: Path, log: RunLogData, rows: Sequence[Row], options: CardOptions) -> str:
    """The text of README.md; templates/card.md says it, from these values.

    Args:
        folder: the packed model.
        log: of the run that made it.
        rows: the model on collections, measured as it is used.
        options: licence and names.

    Raises:
        ConfigError: no licence, or rows of the same collection twice.
        ModelFormatError: `folder` is not a packed model, or not the one of this run.
        MissingExtraError: without the extra [plots], which has the templates' library.
    """
    if not options.license.strip():
        raise ConfigError("a card needs a licence: give an identifier of the hub, such as apache-2.0, or other.")
    names = [row["collection"] for row in rows]
    if len(set(names)) < len(names):
        raise ConfigError(f"a collection is measured twice: {', '.join(sorted(names))}. Every row of a card is another collection.")
    config = EncoderConfig.read(folder)
    _check_same_run(folder, log)
    values = (
        {"front_matter": front_matter(folder, log, rows, options), "title": title(log, options), "log": log, "rows": rows}
        | _model_values(folder, log, config, options)
        | _quality_values(log, rows)
        | _training_values(log, options)
        | _data_values(log, rows)
    )
    return _template().render(values | {"sections": options.sections.strip()}).strip() + "\n"


@cache
def _template() -> Template:
    jinja2: Any = require("jinja2", "writing a model card")
    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": cell, "duration": duration, "figure": figure, "published": published, "empty_vectors": _empty_vectors}
    environment.filters["thousands"] = lambda count: f"{count:,}"
    return environment.get_template("card.md")


def title(log: RunLogData, options: CardOptions) -> str:
    """The model's name."""
    return options.repo_id.rpartition("/")[2] if options.repo_id else log.start.name


def _check_same_run(folder: Path, log: RunLogData) -> None:
    """The recipe that the folder keeps is the one of the log."""
    file = folder / "recipe.json"
    if not file.is_file():
        return
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{file} cannot be read as JSON: {error}.") from error
    if kept != log.start.recipe:
        raise ModelFormatError(f"{folder} was packed by another run than that of {log.path}: their recipes differ. Pack the run again.")


# -- what the hub reads ---------------------------------------------------------------------------------------------------


def front_matter(folder: Path, log: RunLogData, rows: Sequence[Row], options: CardOptions) -> str:
    """The YAML block: language, licence, tags and measured results."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="sparse-information-retrieval",
            task_name="Sparse Information Retrieval",
            dataset_type=str(row["collection"]).partition(":")[0],
            dataset_name=str(row["collection"]),
            dataset_split=str(row["collection"]).partition(":")[2] or None,
            metric_type=measure.replace("@", "_at_").lower(),
            metric_name=measure,
            metric_value=round(float(value), 4),
        )
        for row in rows
        for measure, value in row["measures"].items()
    ]
    readable = (folder / POOLING_FOLDER).is_dir()
    data = ModelCardData(
        language="pt",
        license=options.license.strip(),
        library_name="sentence-transformers" if readable else "splade-ptbr-connectors",
        tags=list(TAGS if readable else TAGS[1:]),
        pipeline_tag="feature-extraction",
        base_model=base_model(log, options),
        model_name=title(log, options) if results else None,
        eval_results=results or None,
        metrics=sorted({measure for row in rows for measure in row["measures"]}) or None,
        ignore_metadata_errors=False,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def base_model(log: RunLogData, options: CardOptions) -> str | None:
    """Hub id of the model that training began with; None for a folder of this machine."""
    path = section(log.start.recipe, "model").get("path")
    return options.base_model or (path if isinstance(path, str) and is_hub_id(path) else None)


# -- what the sections say ------------------------------------------------------------------------------------------------


def _model_values(folder: Path, log: RunLogData, config: EncoderConfig, options: CardOptions) -> Values:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != CARD)
    return {
        "name": options.repo_id or "path/of/this/folder",
        "network": described_model(log.start.recipe),
        "config": config,
        "queries": described_queries(config),
        "pruning": _pruning(config),
        "megabytes": number(size / 1e6),
        "sentence_transformers": (folder / POOLING_FOLDER).is_dir(),
    }


def _pruning(config: EncoderConfig) -> list[str]:
    limits = [
        f"at most {limit:,} terms per {side}"
        for side, limit in (("query", config.max_active_terms_query), ("document", config.max_active_terms_document))
        if limit is not None
    ]
    return limits + [
        f"weights of a {side} below {weight:g} dropped"
        for side, weight in (("query", config.min_weight_query), ("document", config.min_weight_document))
        if weight > 0
    ]


def _quality_values(log: RunLogData, rows: Sequence[Row]) -> Values:
    return {
        "quality": [_measure_table(rows, measure) for measure in (rows[0]["measures"] if rows else ())],
        "kinds": _kinds_table(rows),
        "compared": _compared([row for row in rows if "bm25" in row]),
        "validation": log.packed or log.chosen,
        "smallest": min(rows, key=lambda row: int(row["queries"]), default=None),
        "ineligible": [validation for validation in log.validations if not validation.eligible],
    }


def _measure_table(rows: Sequence[Row], measure: str) -> str:
    baseline = any("bm25" in row for row in rows)
    head = ["collection", "queries", "documents", measure, *(["stemmed BM25"] if baseline else []), "terms per query", "terms per document"]
    lines = []
    for row in rows:
        compared = [figure(row.get("bm25", {}).get(measure))] if baseline else []
        sizes = [f"{row['terms_query']:.1f}", f"{row['terms_document']:.0f}"]
        lines.append(
            [row["collection"], f"{row['queries']:,}", f"{row['documents']:,}", figure(row["measures"].get(measure)), *compared, *sizes]
        )
    return markdown_table(head, lines)


def _kinds_table(rows: Sequence[Row]) -> str:
    """The first measure by kind of query, of collections whose queries have kinds; empty without any."""
    lines = [
        [row["collection"], kind, f"{means['queries']:,}", figure(means[row["metric"]])]
        for row in rows
        for kind, means in row.get("kinds", {}).items()
    ]
    return markdown_table(["collection", "kind of query", "queries", rows[0]["metric"]], lines) if lines else ""


def _compared(rows: Sequence[Row]) -> Values | None:
    """Where the model stands against BM25, by the first measure; None without BM25."""
    if not rows:
        return None
    above = [row["collection"] for row in rows if row["measures"][row["metric"]] >= row["bm25"][row["metric"]]]
    return {"metric": rows[0]["metric"], "above": above, "below": [row["collection"] for row in rows if row["collection"] not in above]}


def _empty_vectors(row: Row) -> list[str]:
    empty = [f"{row[f'empty_{side}']:,} {side} without any term" for side in ("queries", "documents") if row.get(f"empty_{side}")]
    return empty + ([f"{row['unanswered']:,} of {row['queries']:,} queries without any hit"] if row.get("unanswered") else [])


def _training_values(log: RunLogData, options: CardOptions) -> Values:
    recipe = log.start.recipe
    return {
        "command": options.command or log.start.extra.get("command"),
        "training": section(recipe, "training"),
        "optimizer": section(recipe, "optimizer"),
        "machine": described_machine(log),
        "losses": described_losses(recipe),
        "sparsity": {side: described_sparsity(log, side) for side in ("query", "document")},
        "note": str(recipe.get("note") or "").strip(),
        "recipe": json.dumps(published({k: v for k, v in recipe.items() if k != "note"}), indent=1, ensure_ascii=False),
        "versions": published(", ".join(f"{name} {version}" for name, version in log.start.versions.items())),
    }


def _data_values(log: RunLogData, rows: Sequence[Row]) -> Values:
    splits = list(log.validations[-1].splits) if log.validations else []
    measured = [str(row["collection"]) for row in rows]
    trained = trained_collections(log.start.recipe)
    return {
        "data": described_data(log),
        "splits": splits,
        "also_validated": [name for name in measured if name in splits],
        "also_trained": [name for name in measured if name.partition(":")[0] in trained],
    }
