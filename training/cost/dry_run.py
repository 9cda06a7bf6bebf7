"""What a recipe would do and cost, before it does it: sizes of the data, steps, tokens, memory and time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.cost.estimate import Calibration, NetworkSizes, TextLengths, calibrate, estimate
from training.data.batches import Batch
from training.data.tokens import Tokens
from training.data.training_data import load_training_data
from training.loop.device import autocast, check_device, process_count, training_device
from training.loop.distributed import Shares
from training.loop.gradcache import batch_backward
from training.models.base import Encoded
from training.models.build import Built, build_model
from training.recipe.sections import Recipe, TableQueries

SAMPLED_BATCHES = 20


def dry_run_report(recipe: Recipe, data_dir: Path) -> str:
    """Lines for a reader. The model is built and parts of a batch are timed as the run would compute them; nothing is kept.

    Started by torchrun, it reports what each of its processes would have to do.

    Raises:
        What training would: a file that is missing or broken, a model that cannot be loaded.
    """
    check_device(recipe.training)
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
    made = estimate(
        NetworkSizes.of(built.model.networks()[0], parameters=parameters, device=training_device()),
        section,
        TextLengths.of(asked, held, section),
        documents=documents,
        processes=process_count(),
        query_network=not isinstance(recipe.queries, TableQueries),
        calibration=_calibrated(recipe, built, max(batches, key=lambda batch: len(batch.documents))),
    )
    return [("model", f"{parameters:,} trained parameters, {built.model.vocab_size:,} terms"), *made.table()]


def _calibrated(recipe: Recipe, built: Built, batch: Batch) -> Calibration | None:
    """Times parts of what one process has of a batch, on the device that trains; None: one document tells nothing."""
    share = Shares.of(len(batch.queries), len(batch.documents), process_count()).largest[1]
    if share < 2:
        return None
    built.model.to(training_device()).train()
    return calibrate(lambda documents: _timed_step(recipe, built, batch, documents), few=max(1, share // 4), more=max(2, share // 2))


def _timed_step(recipe: Recipe, built: Built, batch: Batch, documents: int) -> int:
    """Forward and backward of so many documents of a batch with their share of its queries; the tokens of both."""
    section, device = recipe.training, training_device()
    queries = max(1, len(batch.queries) * documents // len(batch.documents))
    asked = built.tokens.tokens(batch.queries[:queries], max_length=section.length_query)
    held = built.tokens.tokens(batch.documents[:documents], max_length=section.length_document)
    first, second = (Tokens(*(tensor.to(device) for tensor in side)) for side in (asked, held))
    with autocast(section, device):
        batch_backward(built.model, first, second, _mean_activations, chunk=section.gradcache_chunk)
    built.model.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return int(asked.attention_mask.sum() + held.attention_mask.sum())


def _mean_activations(queries: Encoded, documents: Encoded) -> Tensor:
    """A loss whose gradient reaches every weight; what the real one costs beyond it is little."""
    return queries["activations"].mean() + documents["activations"].mean()
