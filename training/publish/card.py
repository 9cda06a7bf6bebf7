"""The model card of any run: every number in it was measured, read from the run's log or from the evaluation handed in.

A quantity that was not measured does not appear; a run without a log has no card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.encoding.config import FILE_NAME as SETTINGS_FILE
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.errors import ConfigError, InputFileError, ModelFormatError
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
from training.runlog import RunLogData, Validation

CARD = "README.md"
MODEL = "model"
TAGS = ("sentence-transformers", "sparse-encoder", "sparse", "splade")
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
        InputFileError: there is no log.
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
    """The text of README.md.

    Args:
        folder: the packed model.
        log: of the run that made it.
        rows: the model on collections, measured as it is used.
        options: licence and names.

    Raises:
        ConfigError: no licence, or rows of the same collection twice.
        ModelFormatError: `folder` is not a packed model, or not the one of this run.
    """
    if not options.license.strip():
        raise ConfigError("a card needs a licence: give an identifier of the hub, such as apache-2.0, or other.")
    names = [row["collection"] for row in rows]
    if len(set(names)) < len(names):
        raise ConfigError(f"a collection is measured twice: {', '.join(sorted(names))}. Every row of a card is another collection.")
    config = EncoderConfig.read(folder)
    _check_same_run(folder, log)
    parts = [
        front_matter(folder, log, rows, options),
        f"# {title(log, options)}",
        _what_it_is(folder, log, config),
        _quality(log, rows),
        _loading(folder, options),
        _training(log, options),
        _data(log, rows),
        options.sections.strip(),
        _limits(log, config, rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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
    readable = (folder / "modules.json").is_file()
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
    """Hub id of the model that training began with; a folder of this machine is none."""
    path = section(log.start.recipe, "model").get("path")
    return options.base_model or (path if isinstance(path, str) and is_hub_id(path) else None)


# -- sections -------------------------------------------------------------------------------------------------------------


def _what_it_is(folder: Path, log: RunLogData, config: EncoderConfig) -> str:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != CARD)
    lines = [
        "A learned sparse retrieval model for Brazilian Portuguese: a text becomes weights of vocabulary terms, a score is a dot product.",
        "",
        f"- Network: {described_model(log.start.recipe)}",
        f"- Weights of terms: {config.pooling} pooling over tokens, activation `{config.activation}`, vocabulary of {config.vocab_size:,}"
        + (", the positions of special tokens left out" if not config.pool_special_tokens else ""),
        f"- Queries: {described_queries(config)}",
        f"- Lengths: {config.max_length_query:,} tokens of a query, {config.max_length_document:,} of a document, special ones included",
        f"- Text: {config.text.normalization}" + (", lower-cased" if config.text.lowercase else ", case kept"),
        f"- Pruning: {_pruning(config)}",
        f"- On disk: {number(size / 1e6)} MB",
    ]
    return "\n".join(lines)


def _pruning(config: EncoderConfig) -> str:
    limits = [
        f"at most {limit:,} terms per {side}"
        for side, limit in (("query", config.max_active_terms_query), ("document", config.max_active_terms_document))
        if limit is not None
    ]
    limits += [
        f"weights of a {side} below {weight:g} dropped"
        for side, weight in (("query", config.min_weight_query), ("document", config.min_weight_document))
        if weight > 0
    ]
    return ", ".join(limits) or "none"


def _quality(log: RunLogData, rows: Sequence[Row]) -> str:
    if not rows:
        return _validation(log) and f"## Quality\n\nNo test collection was measured.\n\n{_validation(log)}"
    parts = ["## Quality", "Whole collection searched, exact dot products. The number of queries is the denominator of the means."]
    parts += [_measure_table(rows, measure) for measure in rows[0]["measures"]]
    if any("bm25" in row for row in rows):
        baseline = 'Stemmed BM25: the formula of bm25s method "lucene", k1 1.2, b 0.75, lower-cased words, Snowball stop words and stemmer.'
        parts += [baseline, _verdict(rows)]
    return "\n\n".join(part for part in [*parts, _validation(log)] if part)


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


def _verdict(rows: Sequence[Row]) -> str:
    """Where the model stands against BM25, by the first measure."""
    compared = [
        (row["collection"], row["metric"], row["measures"][row["metric"]], row["bm25"][row["metric"]]) for row in rows if "bm25" in row
    ]
    above = [name for name, _, model, bm25 in compared if model >= bm25]
    below = [name for name, _, model, bm25 in compared if model < bm25]
    places = f"at or above stemmed BM25 on {', '.join(above) or 'none'}, below it on {', '.join(below) or 'none'}"
    return f"By {compared[0][1]} the model is {places}."


def _validation(log: RunLogData) -> str:
    last: Validation | None = log.packed or log.chosen
    if last is None:
        return ""
    what = "saved model" if last.packed else f"checkpoint of step {last.step:,}"
    splits = ", ".join(f"{name} {figure(split.quality)}" for name, split in last.splits.items())
    return f"Validation (what choices were made on), {what}, {last.metric}: {splits}; mean {figure(last.mean)}."


def _loading(folder: Path, options: CardOptions) -> str:
    name = options.repo_id or "path/of/this/folder"
    ours = f"""## Use

With splade-ptbr-connectors:

```python
from splade_ptbr_connectors import SpladeEncoder

encoder = SpladeEncoder.load("{name}")
query = encoder.encode_query("Qual é o prazo da declaração?")
document = encoder.encode_document("O prazo termina em maio.")
print(query.dot(document), encoder.decode(document, top_k=10))
```"""
    if not (folder / "modules.json").is_file():
        return ours
    return f"""{ours}

With sentence-transformers (texts that are too long are cut instead of being read in windows, and the terms of special tokens stay):

```python
from sentence_transformers import SparseEncoder

model = SparseEncoder("{name}")
queries, documents = model.encode_query(["..."]), model.encode_document(["..."])
print(model.similarity(queries, documents))
```"""


def _training(log: RunLogData, options: CardOptions) -> str:
    recipe = log.start.recipe
    training, optimizer = section(recipe, "training"), section(recipe, "optimizer")
    command = options.command or log.start.extra.get("command")
    facts = [
        f"- Command: `{published(command)}`" if command else "- Command: `python -m training train RECIPE.toml`, with the recipe below",
        f"- Done: {log.steps_done:,} of {cell(training.get('steps', '?'))} optimiser steps in {duration(log.seconds)} "
        f"(steps and validations), {described_machine(log)}",
        f"- Ended: {log.end.reason}" if log.end else "- Ended: not on its own; the log has no end",
        f"- Chosen: step {log.chosen.step:,}, by the mean {log.chosen.metric} of the validation splits" if log.chosen else "",
        f"- Losses: {described_losses(recipe)}",
        *(f"- Sparsity, {side}: {described_sparsity(log, side)}" for side in ("query", "document")),
        f"- Batches: {cell(training.get('batch_queries', '?'))} queries, batches a step: {cell(training.get('accumulation', 1))}; "
        f"{cell(training.get('length_query', '?'))} tokens of a query and {cell(training.get('length_document', '?'))} of a document",
        f"- AdamW: learning rate {optimizer.get('lr'):g} after {optimizer.get('warmup_steps', 0):,} optimiser steps of warm-up, "
        f"then {optimizer.get('decay', 'linear')}"
        if isinstance(optimizer.get("lr"), int | float)
        else "",
        "- Every schedule is counted in optimiser steps.",
    ]
    note = str(recipe.get("note") or "").strip()
    parts = ["## Training", "\n".join(fact for fact in facts if fact), note, _recipe(log)]
    return "\n\n".join(part for part in parts if part)


def _recipe(log: RunLogData) -> str:
    resolved = json.dumps(published({k: v for k, v in log.start.recipe.items() if k != "note"}), indent=1, ensure_ascii=False)
    versions = ", ".join(f"{name} {version}" for name, version in log.start.versions.items())
    told = f"\n\nVersions: {published(versions)}." if versions else ""
    return f"<details><summary>The resolved recipe</summary>\n\n```json\n{resolved}\n```\n\n</details>{told}"


def _data(log: RunLogData, rows: Sequence[Row]) -> str:
    validation = list(log.validations[-1].splits) if log.validations else []
    parts = ["## Data", described_data(log)]
    if validation:
        parts.append(f"Validation, for the choice of the checkpoint: {', '.join(validation)}.")
    measured = [str(row["collection"]) for row in rows]
    if measured:
        both = [name for name in measured if name in validation]
        parts.append(
            f"Also validation splits, so no test of the model: {', '.join(both)}."
            if both
            else "None of the collections under Quality was a validation split of this run."
        )
    seen = [name for name in measured if name.partition(":")[0] in trained_collections(log.start.recipe)]
    if seen:
        parts.append(f"Trained on other queries of the same collections (their train splits): {', '.join(seen)}.")
    return "\n\n".join(part for part in parts if part)


def _limits(log: RunLogData, config: EncoderConfig, rows: Sequence[Row]) -> str:
    length = config.max_length_document
    limits = [f"Documents of more than {length:,} tokens are read in overlapping windows, each weighed as a text of its own."]
    for row in rows:
        empty = [f"{row[f'empty_{side}']:,} {side} without any term" for side in ("queries", "documents") if row.get(f"empty_{side}")]
        if row.get("unanswered"):
            empty.append(f"{row['unanswered']:,} of {row['queries']:,} queries without any hit")
        if empty:
            limits.append(f"{row['collection']}: {', '.join(empty)}; what has no term is never found.")
        if row.get("counts", {}).get("missing_relevant"):
            limits.append(f"{row['collection']}: {row['about']}.")
    if rows:
        smallest = min(rows, key=lambda row: int(row["queries"]))
        limits.append(
            f"The smallest collection, {smallest['collection']}, has {smallest['queries']:,} queries: small differences are noise."
        )
    ineligible = [validation for validation in log.validations if not validation.eligible]
    if ineligible:
        limits.append(
            f"{len(ineligible)} of {len(log.validations)} checkpoints could not be chosen, the last because: {ineligible[-1].reason}."
        )
    if log.end is None:
        limits.append("The log of the run has no end: the model is one of its checkpoints.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
