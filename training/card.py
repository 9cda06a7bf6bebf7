# ruff: noqa: E501 (the card is a text with tables)
"""The model card: every number in it is measured when it is written, or read from the run's own files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.data import Collection, evaluation_of, read_collection
from training.pack import load_packed
from training.validation import Result, measure, measure_bm25

FIXED_FLOOR = {"irpf-faq": 0.593, "docs-faq": 0.696, "faquad": 0.916, "pira": 0.874, "squad-pt-sample": 0.835}
"""BM25-shaped weights on lower-cased word pieces with IDF of the unlabelled text, nothing trained (notes of the first try)."""


def collections_with(data_dir: Path, split: str) -> list[Collection]:
    """The BEIR folders of a data directory that have this split, by name."""
    folders = sorted(path.parent.parent for path in data_dir.glob(f"*/qrels/{split}.tsv"))
    return [read_collection(folder) for folder in folders]


def split_table(folder: Path, data_dir: Path, *, split: str, bm25: bool) -> list[dict[str, Any]]:
    """A row for each collection that has the split."""
    model, vocabulary, limits = load_packed(folder)
    rows = []
    for collection in collections_with(data_dir, split):
        evaluation = evaluation_of(collection, split)
        result = measure(model, vocabulary, evaluation, limits)
        row = {"split": result.name, **_numbers(result)}
        rows.append(row | {"bm25": measure_bm25(evaluation)} if bm25 else row)
    return rows


def _numbers(result: Result) -> dict[str, Any]:
    return {
        "ndcg10": result.ndcg10,
        "terms_query": result.terms_query,
        "terms_document": result.terms_document,
        "empty_documents": result.empty_documents,
        "queries": result.queries,
    }


def test_table(folder: Path, data_dir: Path) -> list[dict[str, Any]]:
    """The test splits, with stemmed BM25 and the fixed floor beside the model."""
    rows = split_table(folder, data_dir, split="test", bm25=True)
    for row in rows:
        row["floor"] = FIXED_FLOOR.get(row["split"].partition(":")[0])
    return rows


def _table(rows: Sequence[dict[str, Any]]) -> str:
    head = "| collection (test split) | queries | mini | stemmed BM25 | fixed floor | terms a query | terms a document |\n"
    head += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    lines = []
    for row in rows:
        floor = "-" if row["floor"] is None else f"{row['floor']:.3f}"
        lines.append(
            f"| {row['split'].partition(':')[0]} | {row['queries']} | {row['ndcg10']:.3f} | {row['bm25']:.3f} | {floor} "
            f"| {row['terms_query']:.1f} | {row['terms_document']:.0f} |"
        )
    return head + "\n".join(lines)


def _verdict(rows: Sequence[dict[str, Any]]) -> str:
    above = [row["split"].partition(":")[0] for row in rows if row["ndcg10"] >= row["bm25"]]
    below = [row["split"].partition(":")[0] for row in rows if row["ndcg10"] < row["bm25"]]
    parts = [f"at or above stemmed BM25 on {', '.join(above) or 'none'}", f"below it on {', '.join(below) or 'none'}"]
    return "On these splits the model is " + ", ".join(parts) + "."


def _validation(log: Path) -> str:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    packed = [row for row in rows if row.get("evaluation") == "packed"]
    if not packed:
        return ""
    splits = ", ".join(f"{name} {values['ndcg10']:.3f}" for name, values in packed[-1]["splits"].items())
    return f"Validation (what choices were made on), packed model: {splits}; mean {packed[-1]['mean_ndcg10']:.3f}."


def _duration(log: Path) -> str:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    seconds = sum(row.get("seconds", 0.0) for row in rows)
    steps = sum("step" in row for row in rows)
    return f"{steps} optimiser steps, {seconds / 60:.0f} minutes with validation, on two CPU cores." if steps else ""


def _recipe(folder: Path) -> dict[str, Any]:
    """The resolved recipe that the folder was made by."""
    recipe: dict[str, Any] = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return recipe


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:.1f} MB"


def model_card(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    """The text of README.md."""
    log = folder.parent / "training.jsonl"
    recipe = _recipe(folder)
    return CARD.format(
        note=recipe["note"].strip(),
        share=recipe["importance_share"],
        table=_table(rows),
        verdict=_verdict(rows),
        validation=_validation(log),
        duration=_duration(log),
        size=_size(folder),
    )


CARD = """# mini

A small sparse retrieval model for Brazilian Portuguese: documents by a one-layer network with an explicit lexical channel,
queries by a table of term weights (no network at query time). {size} on disk. It exists so that the package works
without a download; it is not a substitute for a fine-tuned BERTimbau.

## Quality

nDCG@10, whole collection searched, exact dot products. Stemmed BM25: the formula of bm25s method "lucene", k1 1.2, b 0.75, lower-cased words,
Snowball stop words and stemmer. Fixed floor: BM25-shaped weights on lower-cased word pieces, IDF of the unlabelled text, nothing trained
(figures of an experiment before this recipe, not measured again here).

{table}

{verdict}

{validation}

## How it works

- Vocabulary: BERTimbau's (29,794 word pieces); text is put into NFC and lower case first.
- A document's weight for a term that occurs is BM25's saturation of its frequency, counted over the inflections of one stem, times
  the learned importance of the token in its context; inflections of the same stem are added. Stop words have no weight.
- A query's weight for a term comes from a table: IDF counted on the unlabelled text and the training passages, every source alike,
  then trained.
- The network weighs the terms of a document in context; it adds none: the terms added are the inflections, from a table.

## Training

`python -m training train training/recipes/mini.toml --data DATA`. {duration}
Contrastive loss over all passages of a batch, hard negatives by stemmed BM25 among them; of the learned importance {share:.0%} is
kept (an average with the start in weight space). Checkpoint and settings were chosen on validation splits. {note}

| data | licence |
| --- | --- |
| FaQuAD train (dev: validation) | CC BY 4.0 |
| IRPF questions and answers 2024, train (unicamp-dl/rag-receita) | MIT |
| SQuAD 1.1 pt sample, train (nunorc/squad-v1.1-pt) | MIT; SQuAD 1.1 is CC BY-SA 4.0 |
| docs-faq train: Microsoft documentation pt-BR, Python FAQ, PHP FAQ | CC BY 4.0, CC0 1.0, CC BY 3.0 |
| weak pairs (headings of Microsoft documentation, TJAL rulings) | CC BY 4.0, public domain |
| unlabelled text: technical documentation, laws, rulings, Machado de Assis, speeches, news, essays | public domain, MIT, CC BY, CC BY-SA, CC0 |
| vocabulary of BERTimbau (neuralmind-ai/portuguese-bert) | MIT |

## Limits

- Trained on little and narrow text, most of it technical documentation; expect less elsewhere than the table shows.
- It matches words and their inflections. Synonyms and paraphrases are hardly bridged.
- Texts of more than 2,048 tokens are encoded in overlapping windows, each weighed as a text of its own: they gain on shorter ones. Split them.
- The test collections are small; differences of one or two points are within their noise.
"""
