"""What a recipe would do, before it does it: sizes of the data, steps, tokens."""

from __future__ import annotations

from pathlib import Path

from training.data.loading import load_training_data
from training.models.build import build_model
from training.recipe.sections import Recipe

SAMPLED_BATCHES = 20


def dry_run_report(recipe: Recipe, data_dir: Path) -> str:
    """Lines for a reader: data, batches, tokens; the model is built, nothing is trained."""
    data = load_training_data(recipe, data_dir)
    built = build_model(recipe, data_dir, data.passages)
    section = recipe.training
    batches = [data.batches.batch(step) for step in range(SAMPLED_BATCHES)]
    rows = [
        (
            built.tokens.rows(batch.queries, max_length=section.length_query),
            built.tokens.rows(batch.documents, max_length=section.length_document),
        )
        for batch in batches
    ]
    tokens = sum(len(row) for queries, documents in rows for row in [*queries, *documents]) / SAMPLED_BATCHES
    documents = sum(len(batch.documents) for batch in batches) / SAMPLED_BATCHES
    parameters = sum(p.numel() for group in built.model.parameter_groups().values() for p in group)
    whole = section.steps * section.accumulation
    return "\n".join(
        [
            f"data: {dict(data.batches.sizes)}",
            f"validation: {', '.join(f'{c.name} ({c.counts.queries:,} queries, {c.counts.documents:,} documents)' for c in data.validation)}",
            f"model: {parameters:,} trained parameters, {built.model.vocab_size:,} terms",
            f"steps: {section.steps:,} of {section.accumulation} batches of {section.batch_queries} queries and {documents:.0f} documents",
            f"tokens: {tokens:,.0f} a batch, {tokens * whole / 1e6:,.1f} million in all (padding not counted)",
            f"expected cost, by the recipe: {recipe.cost or 'not said'}",
        ]
    )
