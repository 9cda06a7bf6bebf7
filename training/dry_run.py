"""What a recipe would do and cost, before it does it: sizes of the data, steps, tokens, memory and time."""

from __future__ import annotations

from pathlib import Path

import torch

from training.data.batches import Batch
from training.data.loading import load_training_data
from training.estimate import NetworkSizes, TextLengths, calibrate, estimate
from training.gradcache import batch_backward
from training.models.build import Built, build_model
from training.recipe.sections import Recipe, TableQueries

SAMPLED_BATCHES = 20


def dry_run_report(recipe: Recipe, data_dir: Path) -> str:
    """Lines for a reader. The model is built and two batches are timed on this machine; nothing is kept.

    Raises:
        What training would: a file that is missing or broken, a model that cannot be loaded.
    """
    if recipe.training.threads is not None:
        torch.set_num_threads(recipe.training.threads)
    data = load_training_data(recipe, data_dir)
    built = build_model(recipe, data_dir, data.passages)
    batches = [data.batches.batch(step) for step in range(SAMPLED_BATCHES)]
    lines = [
        ("data", str(dict(data.batches.sizes))),
        ("validation", ", ".join(f"{c.name} ({c.counts.queries:,} queries, {c.counts.documents:,} documents)" for c in data.validation)),
        *_estimate(recipe, built, batches),
        ("cost, by the recipe", recipe.cost or "not said"),
    ]
    return "\n".join(f"{name + ':':22} {value}" for name, value in lines)


def _estimate(recipe: Recipe, built: Built, batches: list[Batch]) -> list[tuple[str, str]]:
    section, tokens = recipe.training, built.tokens
    asked = [len(row) for batch in batches for row in tokens.rows(batch.queries, max_length=section.length_query)]
    held = [len(row) for batch in batches for row in tokens.rows(batch.documents, max_length=section.length_document)]
    parameters = sum(p.numel() for group in built.model.parameter_groups().values() for p in group)
    documents = round(sum(len(batch.documents) for batch in batches) / len(batches))
    few = max(1, section.batch_queries // 4)
    timing = calibrate(
        lambda queries: _timed_step(recipe, built, batches[0], queries), few=few, more=max(few + 1, section.batch_queries // 2)
    )
    made = estimate(
        NetworkSizes.of(built.model.networks()[0], parameters=parameters),
        section,
        TextLengths.of(asked, held, section),
        documents=documents,
        query_network=not isinstance(recipe.queries, TableQueries),
        calibration=timing,
    )
    return [("model", f"{parameters:,} trained parameters, {built.model.vocab_size:,} terms"), *made.table()]


def _timed_step(recipe: Recipe, built: Built, batch: Batch, queries: int) -> int:
    """Forward and backward of a part of a batch; its tokens."""
    section = recipe.training
    documents = max(1, len(batch.documents) * queries // len(batch.queries))
    asked = built.tokens.tokens(batch.queries[:queries], max_length=section.length_query)
    held = built.tokens.tokens(batch.documents[:documents], max_length=section.length_document)
    batch_backward(built.model, asked, held, lambda q, d: q["activations"].mean() + d["activations"].mean(), chunk=section.gradcache_chunk)
    built.model.zero_grad()
    return int(asked.attention_mask.sum() + held.attention_mask.sum())
