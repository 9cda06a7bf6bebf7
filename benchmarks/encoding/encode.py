"""Texts/s, memory and vectors of our runtimes beside sentence-transformers' SparseEncoder: one checkpoint, the same texts, one run."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

import splade_ptbr_connectors
from benchmarks.encoding.checkpoints import Checkpoint, random_bert, shipped
from benchmarks.encoding.report import Case, compare_vectors, ndcg, show
from benchmarks.encoding.runners import Measured, Runner, best_batch, measure_runner
from benchmarks.encoding.texts import DOCUMENTS, QUERIES, Texts, read_collection, with_fixed
from benchmarks.workloads.workload import read_vectors
from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.tokens import TextTokenizer, load_tokenizer

SAMPLE = Path(splade_ptbr_connectors.__file__).parent / "sample"
BATCHES, TRIED = (2, 8, 16, 64), 128
"""Batch sizes that sentence-transformers is tried with beside its default of 32, on so many documents at most."""
THEIRS = "sentence-transformers"


class Size(StrEnum):
    """Which checkpoints."""

    small = "small"
    base = "base"
    both = "both"


class Device(StrEnum):
    """Where it runs."""

    cpu = "cpu"
    cuda = "cuda"


def encode(
    collections: Annotated[list[Path] | None, typer.Option("--collection", help="BEIR folder; may be given several times.")] = None,
    split: Annotated[str, typer.Option(help="File below qrels/ that says which queries count.")] = "test",
    size: Annotated[Size, typer.Option(help="The shipped mini-bert, a BERT of base size with random weights, or both.")] = Size.both,
    rounds: Annotated[int, typer.Option(help="Rounds; in each, every runner runs once, in a process of its own.", min=1)] = 3,
    base_rounds: Annotated[int, typer.Option(help="The same for the base size, on the first collection.", min=1)] = 1,
    base_documents: Annotated[int, typer.Option(help="Documents for the base size: of the collection, and of 256 tokens.", min=1)] = 32,
    layers: Annotated[int, typer.Option(help="Layers of the base size.", min=1)] = 12,
    hidden: Annotated[int, typer.Option(help="Hidden size of the base size.", min=64)] = 768,
    device: Annotated[Device, typer.Option(help="cuda measures torch in float32, bfloat16 and float16, not onnxruntime.")] = Device.cpu,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Ours against SparseEncoder (goals: twice its rate at a loss of 0.002 nDCG@10; exactly, its rate and a third of its memory)."""
    if device is Device.cuda:
        _check_cuda()
    found = [read_collection(path, split) for path in collections or [SAMPLE]]
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="splade-benchmark-") as name:
        place = Path(name)
        if size is not Size.base:
            _say("mini-bert: exporting it with products in int8")
            checkpoint = shipped("mini-bert", place)
            cases += [measure_case(checkpoint, texts, device, rounds, place) for texts in found]
        if size is not Size.small:
            _say("base: making and exporting a checkpoint")
            checkpoint = random_bert(place, layers=layers, hidden=hidden)
            cases.append(measure_case(checkpoint, with_fixed(found[0], base_documents), device, base_rounds, place))
    threads = os.environ.get("OMP_NUM_THREADS") or "one per core"  # torch and onnxruntime both go by it
    settings = {"device": device.value, "threads": threads, "split": split, "rounds": rounds, "base_rounds": base_rounds}
    show(cases, settings, as_json=as_json)


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise typer.BadParameter("no CUDA device here; use --device cpu", param_hint="--device")


def _say(what: str) -> None:
    if sys.stderr.isatty():
        typer.echo(what, err=True)


def measure_case(checkpoint: Checkpoint, texts: Texts, device: str, rounds: int, place: Path) -> Case:
    """Every runner in turn, in alternating order, each time in a fresh process; vectors are kept of the first round."""
    folder = place / f"{checkpoint.name}-{texts.name}"
    folder.mkdir()
    file = folder / "texts.json"
    file.write_text(json.dumps(texts.steps), encoding="utf-8")
    runners = make_runners(checkpoint, texts, device)
    found: dict[str, list[Measured]] = {runner.name: [] for runner in runners}
    order = [(number, runner) for number in range(rounds) for runner in (runners if number % 2 == 0 else reversed(runners))]
    for number, runner in tqdm(order, f"{checkpoint.name} on {texts.name}", unit=" processes", disable=None, file=sys.stderr):
        found[runner.name].append(measure_runner(runner, file, folder / runner.name if number == 0 else None))
    return _judged(checkpoint, texts, found, folder)


def make_runners(checkpoint: Checkpoint, texts: Texts, device: str) -> list[Runner]:
    """sentence-transformers twice, with its default batch size and with its best one, then our runtimes."""
    channel = checkpoint.name if checkpoint.torch != checkpoint.sentence_transformers else ""
    default = Runner(THEIRS, THEIRS, checkpoint.sentence_transformers, device=device, channel=channel)
    longest = list(texts.steps.values())[-1][: min(TRIED, max(BATCHES[1], len(texts.doc_ids) // 4))]
    best = best_batch(default, longest, (*BATCHES, default.batch_size))
    tuned = replace(default, name=f"{THEIRS}, batch {best}", batch_size=best)
    if device == Device.cuda:
        dtypes = ("float32", "bfloat16", "float16")
        ours = [Runner(f"torch {dtype}", "ours", checkpoint.torch, "torch", device, dtype) for dtype in dtypes]
    else:
        ours = [
            Runner("torch float32", "ours", checkpoint.torch, "torch"),
            Runner("onnx float32", "ours", checkpoint.onnx, "onnx"),
            Runner("onnx int8", "ours", checkpoint.int8, "onnx"),
        ]
    return [default, tuned, *ours]


def _judged(checkpoint: Checkpoint, texts: Texts, found: dict[str, list[Measured]], folder: Path) -> Case:
    encoder = SpladeEncoder.load(checkpoint.torch, preload=False)
    vectors = {name: {step: read_vectors(folder / name / step) for step in texts.steps} for name in found}
    size, left_out, (baseline, tuned, *_) = encoder.vocab_size, checkpoint.special_ids, found
    likeness = {
        name: {step: compare_vectors(vectors[baseline][step], own[step], size, left_out) for step in texts.steps}
        for name, own in vectors.items()
    }
    judged = vectors if checkpoint.judged else {}
    quality = {name: ndcg(own[QUERIES], own[DOCUMENTS], size, left_out, texts) for name, own in judged.items()}
    lengths = {step: _lengths(encoder, many) for step, many in texts.steps.items()}
    counts = {step: len(many) for step, many in texts.steps.items()}
    return Case(checkpoint.name, texts.name, counts, lengths, baseline, tuned, found, likeness, quality)


def _lengths(encoder: SpladeEncoder, texts: list[str]) -> list[float]:
    """Tokens of a text, special ones included, cut to the model's limit: mean, median, 95th percentile, largest."""
    config = encoder.config
    tokenizer = TextTokenizer(load_tokenizer(find_model(encoder.name).path, config.vocab_size), config.max_length_document, "truncate")
    found = tokenizer.tokenize([config.text_rule.apply(text, "text") for text in texts])
    lengths = [sum(map(len, text.windows)) for text in found]
    return [float(np.mean(lengths)), *(float(value) for value in np.percentile(lengths, (50, 95, 100)))]
