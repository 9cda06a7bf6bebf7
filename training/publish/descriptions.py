"""Words for what a recipe and a log say: networks, losses, regularisers, data and machines, as a model card describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from splade_ptbr_connectors.encoding.config import EncoderConfig
from training.recipe.tables import section
from training.runlog import RunLogData

CANDIDATES = {
    "own": "the hard negatives chosen for the query",
    "positives": "the hard negatives chosen for the query and the positives of the other queries",
    "hard": "the hard negatives of every query of the batch",
    "all": "every passage of the batch",
}
CONVENTIONS = {
    "averaged": "computed for positives and for negatives, then averaged",
    "stacked": "computed over all documents of the batch at once",
    "summed": "computed for each group of documents, then added",
}
REGULARIZERS = {
    "flops": "FLOPS (arXiv 2004.05665)",
    "l1": "L1",
    "l0_flops": "FLOPS, texts of few terms exempt (arXiv 2504.14839)",
    "df_flops": "DF-FLOPS, frequent terms cost more (arXiv 2505.15070)",
}
PRIVATE = ("host", "hostname", "node", "user", "username", "home")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


# -- writing --------------------------------------------------------------------------------------------------------------


def figure(value: float | None) -> str:
    """A quality with three decimals; "-" for what was not measured."""
    return "-" if value is None else f"{value:.3f}"


def cell(value: Any) -> str:
    """A value within a line or a table of Markdown."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose first column is text, the others figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *[[cell(value) for value in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def is_hub_id(path: str) -> bool:
    """owner/name, and no folder here."""
    return _HUB_ID.fullmatch(path) is not None and not Path(path).exists()


def published(value: Any) -> Any:
    """The value without the folders of the machine it came from: of an absolute path only the last name stays."""
    if isinstance(value, Mapping):
        return {name: published(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [published(item) for item in value]
    return _ABSOLUTE.sub(_last_name, value) if isinstance(value, str) else value


_ABSOLUTE = re.compile(r"(?<![^\s'\"=,])(?:(?:~[\w.-]*)?/[^\s'\",]+|[A-Za-z]:[\\/][^\s'\",]*)")


def _last_name(found: re.Match[str]) -> str:
    path = found.group()
    name = (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).name
    return f".../{name}" if name else "..."


# -- describing -----------------------------------------------------------------------------------------------------------


def described_model(recipe: Mapping[str, Any]) -> str:
    """The network that was trained, from its section."""
    model = section(recipe, "model")
    kind = model.get("kind")
    shape = ", ".join(f"{label} {model[key]:,}" for key, label in _SHAPE.items() if isinstance(model.get(key), int))
    embedded = section(recipe, "sparse_embed")
    more = f", with an embedding of {embedded['size']} numbers for each kept term (SparseEmbed)" if "size" in embedded else ""
    if recipe.get("kind") == "words":
        return "none: documents are counted words"
    if kind == "pretrained":
        return f"masked language model, fine-tuned from `{published(str(model.get('path')))}`{more}"
    if kind == "lexical":
        return f"a lexical channel that starts as BM25, weighed by a small transformer ({shape}), made here{more}"
    return f"masked language model made here ({shape}){more}" if kind == "small" else f"{cell(kind)}{more}"


_SHAPE = {"layers": "layers", "hidden_size": "hidden size", "heads": "heads"}


def described_queries(config: EncoderConfig) -> str:
    """How queries are encoded, from the folder's own settings."""
    return {
        "same": "by the network of the documents",
        "table": "by a table of term weights, without a network",
        "separate": "by a network of their own",
        "expansion": "by a table of term weights and a thesaurus, whose edges a gate lets pass; no network over text",
    }[config.query.kind]


def described_losses(recipe: Mapping[str, Any]) -> str:
    """The ranking losses with weights, and whom a positive is ranked against."""
    ranking = section(recipe, "ranking")
    losses = ", ".join(f"{weight:g} x {name}" for name, weight in section(ranking, "losses").items()) or "none named"
    candidates = str(ranking.get("candidates"))
    told = f"; candidates `{candidates}`: {CANDIDATES[candidates]}" if candidates in CANDIDATES else ""
    teacher = "; teacher: stemmed BM25 on the training passages" if ranking.get("bm25_teacher") else ""
    return f"{losses}{told}{teacher}"


def described_sparsity(log: RunLogData, side: str) -> str:
    """Regulariser, convention and lambda of one side; the lambda of the end as it was logged."""
    settings = section(log.start.recipe, "sparsity", side)
    if not settings:
        return "no regulariser"
    name = REGULARIZERS.get(str(settings.get("regularizer")), cell(settings.get("regularizer")))
    parts = [name]
    if side == "document" and settings.get("convention") in CONVENTIONS:
        parts.append(f"convention `{settings['convention']}` ({CONVENTIONS[settings['convention']]})")
    if settings.get("target_terms") is not None:
        parts.append(f"lambda steered to {settings['target_terms']:g} terms")
    elif settings.get("weight") is not None:
        parts.append(f"lambda {settings['weight']:g}")
    if settings.get("ramp_steps"):
        parts.append(f"rising as the square of the step over {settings['ramp_steps']:,} optimiser steps")
    last = log.steps.last(f"lambda_{side}")
    return ", ".join(parts) + (f"; {last:.3g} at the last step" if last is not None else "")


def described_machine(log: RunLogData) -> str:
    """What the run's times belong to, without names of hosts and people."""
    machine = {name: value for name, value in log.start.machine.items() if name.lower() not in PRIVATE and value not in (None, "")}
    words = ", ".join(f"{name.replace('_', ' ')} {cell(published(value))}" for name, value in machine.items())
    processes = f", {log.start.world_size} processes" if log.start.world_size > 1 else ""
    return f"on: {words or 'a machine that the log does not describe'}{processes}"


def described_data(log: RunLogData) -> str:
    """What the run was trained on: sizes and hash as the log has them."""
    kind = section(log.start.recipe, "data").get("kind")
    rows = [[name.replace("_", " "), value] for name, value in _flat(published(log.start.data)).items()]
    return markdown_table([f"training data (`{cell(kind or 'words')}`)", ""], rows) if rows else ""


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}, ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def trained_collections(recipe: Mapping[str, Any]) -> set[str]:
    """Names of the collections whose train split the recipe uses."""
    named = section(recipe, "data").get("collections")
    return {Path(str(name)).name for name in named} if isinstance(named, list | tuple) else set()
