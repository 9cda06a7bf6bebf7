"""Logs of runs that never happened, for what is read after a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

SPLITS = ("faquad:dev", "irpf-faq:held-out")
HOT = [["de", 0.97], ["##ção", 0.61], ["não", 0.55], ["São", 0.2], ["$x$", 0.22], ["漢", 0.1], ["<b>&", 0.05]]


def recipe(name: str = "teste", **changes: Any) -> dict[str, Any]:
    """A resolved recipe, with its usual sections."""
    table: dict[str, Any] = {
        "name": name,
        "seed": 1,
        "note": "Uma nota.",
        "data": {"kind": "collections", "collections": ["faquad", "irpf-faq"]},
        "model": {"kind": "pretrained", "path": "neuralmind/bert-base-portuguese-cased", "pooling": "max", "activation": "log1p_relu"},
        "queries": {"kind": "shared"},
        "ranking": {"losses": {"contrastive": 1.0, "margin_mse": 0.05}, "candidates": "all"},
        "sparsity": {
            "query": {"regularizer": "l1", "weight": 0.0005, "ramp_steps": 4, "convention": "averaged", "target_terms": None},
            "document": {"regularizer": "flops", "weight": None, "ramp_steps": 0, "convention": "stacked", "target_terms": 120.0},
        },
        "training": {"steps": 12, "batch_queries": 16, "length_query": 32, "length_document": 256, "accumulation": 1},
        "optimizer": {"lr": 2e-5, "warmup_steps": 3, "decay": "linear"},
        "validation": {"every": 4, "splits": list(SPLITS), "metric": "nDCG@10", "max_terms_document": 220.0},
    }
    return table | changes


def start_row(name: str = "teste", **changes: Any) -> dict[str, Any]:
    return {
        "event": "start",
        "recipe": recipe(name, **changes),
        "data": {"queries": 1000, "vocab_size": 29794, "sha256": "ab" * 32},
        "versions": {"torch": "2.15.0"},
        "machine": {"device": "cpu", "cores": 2, "hostname": "segredo-do-host"},
        "world_size": 1,
    }


def step_row(step: int, **changes: Any) -> dict[str, Any]:
    fall = math.exp(-step / 5)
    row = {
        "event": "step", "step": step, "source": "faquad", "loss": 1 + fall, "contrastive": 0.5 + fall, "margin_mse": 10 * fall,
        "regularizer_query": 4.0, "regularizer_document": 30 * fall, "lambda_query": 5e-4, "lambda_document": 3e-3,
        "terms_query": 20 + 50 * fall, "terms_document": 150 + 500 * fall, "empty_queries": int(step == 1), "empty_documents": 0,
        "max_activation": 2.5, "gradient_norm": 1.0, "learning_rate": 2e-5, "tokens": 7000, "seconds": 0.5, "memory_bytes": 10**9,
    }  # fmt: skip
    return row | changes


def validation_row(step: int, mean: float, *, best: bool = False, reason: str | None = None, **changes: Any) -> dict[str, Any]:
    split = {
        "terms_query": 22.0, "terms_document": 180.0 - step, "empty_queries": 0, "empty_documents": 1, "evaluation_flops": 0.8,
        "dead_terms": 14000, "hot_terms": HOT, "queries": 404, "documents": 5000, "measures": {"nDCG@10": mean},
    }  # fmt: skip
    splits = {name: {"quality": mean + shift} | split for name, shift in zip(SPLITS, (0.1, -0.1), strict=True)}
    row = {
        "event": "validation",
        "step": step,
        "metric": "nDCG@10",
        "mean": mean,
        "best": best,
        "eligible": reason is None,
        "reason": reason,
    }
    return row | {"seconds": 2.0, "splits": splits} | changes


def rows(name: str = "teste", *, steps: int = 12, every: int = 4, **changes: Any) -> list[dict[str, Any]]:
    """A whole run: a validation at the start that could not be chosen, the best one before the last."""
    made = [start_row(name, **changes), validation_row(0, 0.4, reason="faquad:dev has 900.0 terms per document, more than 220")]
    best = steps - every
    for step in range(1, steps + 1):
        made.append(step_row(step))
        if step % every == 0:
            mean = 0.5 + 0.2 * min(step, best) / steps - (0.05 if step > best else 0)
            made.append(validation_row(step, mean, best=step <= best))
    made.append(validation_row(steps, 0.62, packed=True))
    return [*made, {"event": "end", "reason": "every step was done", "step": steps, "best_step": best}]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    """The rows as a log in the folder `path`; its file."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / "training.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")
    return file
