"""The runners of `encode`, each in a process of its own: it loads a model, warms up, encodes the texts and says how fast and how large."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.memory import peak_bytes, resident_bytes
from benchmarks.workloads.workload import write_vectors
from splade_ptbr_connectors.vectors import SparseBatch

WARM_UP = (8, 64)  # at least and at most so many texts, else an eighth of them, the shortest and the longest ones
MEASURED_S = 1.0  # few texts are encoded again until so much time has passed
QUERIES = "queries"
Encode = Callable[[list[str]], Any]
ToBatch = Callable[[Any], SparseBatch]


@dataclass(frozen=True)
class Runner:
    """Who encodes, and how.

    Attributes:
        name: in the tables.
        library: "ours" or "sentence-transformers".
        model: name or folder.
        channel: for sentence-transformers, the model of ours whose lexical channel and query table it gets as modules; "" for none.
    """

    name: str
    library: str
    model: str
    runtime: str = "auto"
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 32
    channel: str = ""


@dataclass(frozen=True)
class Step:
    """Texts a second, and a second of a core; the largest number of resident bytes of the process so far (of the GPU: allocated ones)."""

    rate: float
    rate_of_core: float
    peak_bytes: int


@dataclass(frozen=True)
class Measured:
    """What a process found. `before_bytes`: resident before any model or runtime was imported; `load_s`: until it could encode."""

    before_bytes: int
    load_s: float
    steps: dict[str, Step]


def measure_runner(runner: Runner, texts: Path, vectors: Path | None = None) -> Measured:
    """Run one runner in a fresh process.

    Args:
        texts: JSON file, step -> list of texts; "queries" are encoded as queries, all else as documents, in this order. Peaks
            only grow: the lighter step comes first.
        vectors: folder to write the vectors of every step to.

    Raises:
        RuntimeError: the process failed; with the end of what it said.
    """
    found = _in_process(runner, "child", {"texts": str(texts), "vectors": None if vectors is None else str(vectors)})
    return Measured(found["before_bytes"], found["load_s"], {name: Step(**step) for name, step in found["steps"].items()})


def best_batch(runner: Runner, texts: list[str], candidates: tuple[int, ...]) -> int:
    """The batch size with which sentence-transformers encodes these documents fastest; tried in a process of its own."""
    rates = _in_process(runner, "try_batches", {"texts": texts, "candidates": [size for size in candidates if size <= len(texts)]})
    return int(max(rates, key=lambda size: rates[size]))


def query_times(runner: Runner, queries: list[str]) -> list[float]:
    """Seconds of each query encoded alone, in a fresh process that has one core."""
    return list(map(float, _in_process(runner, "time_queries", {"texts": queries})))


def _in_process(runner: Runner, function: str, job: dict[str, Any]) -> Any:
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true", "PYTHONWARNINGS": "ignore"}
    code = f"from benchmarks.encoding.runners import {function}; {function}()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({**job, "runner": asdict(runner)}),
        cwd=Path(__file__).parents[2],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the runner {runner.name!r} failed (exit status {done.returncode}): {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child() -> None:
    """What runs in the fresh process: the job is its input, the last line of its output is JSON."""
    given = json.load(sys.stdin)
    runner, before = Runner(**given["runner"]), resident_bytes()
    texts: dict[str, list[str]] = json.loads(Path(given["texts"]).read_text(encoding="utf-8"))
    started = time.perf_counter()
    queries, documents, to_batch = (_ours if runner.library == "ours" else _sentence_transformers)(runner)
    load_s = time.perf_counter() - started
    steps = {}
    for name, many in texts.items():
        encode = queries if name == QUERIES else documents
        rates, vectors = _timed(encode, many)
        steps[name] = {**rates, "peak_bytes": _peak_bytes(runner.device)}
        if given["vectors"]:
            write_vectors(Path(given["vectors"]) / name, to_batch(vectors))
    sys.stdout.write("\n" + json.dumps({"before_bytes": before, "load_s": load_s, "steps": steps}) + "\n")


def try_batches() -> None:
    """The rate of sentence-transformers for every candidate, as JSON; see best_batch."""
    given = json.load(sys.stdin)
    model, texts = _sparse_encoder(Runner(**given["runner"])), given["texts"]
    rates = {size: _timed(_calls(model, size)[1], texts)[0]["rate"] for size in given["candidates"]}
    sys.stdout.write("\n" + json.dumps(rates) + "\n")


def time_queries() -> None:
    """The seconds of each query, as JSON; see query_times."""
    given = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    encode, _, _ = _ours(Runner(**given["runner"]))
    for text in given["texts"][: WARM_UP[1]]:
        encode([text])
    times = []
    for text in given["texts"]:
        started = time.perf_counter()
        encode([text])
        times.append(time.perf_counter() - started)
    sys.stdout.write("\n" + json.dumps(times) + "\n")


def _timed(encode: Encode, texts: list[str]) -> tuple[dict[str, float], Any]:
    """Texts a second after a warm-up, by the clock and by what all threads were at work, and the vectors of all texts."""
    ordered, few = sorted(texts, key=len), min(max(WARM_UP[0], len(texts) // 8), WARM_UP[1]) // 2
    encode(ordered[:few] + ordered[-few:])
    started, at_work, encoded, seconds = time.perf_counter(), time.process_time(), 0, 0.0
    while seconds < MEASURED_S:
        vectors = encode(texts)
        encoded, seconds = encoded + len(texts), time.perf_counter() - started
    return {"rate": encoded / seconds, "rate_of_core": encoded / (time.process_time() - at_work)}, vectors


def _peak_bytes(device: str) -> int:
    if device == "cpu":
        return peak_bytes()
    import torch

    return int(torch.cuda.max_memory_allocated())


def _ours(runner: Runner) -> tuple[Encode, Encode, ToBatch]:
    from splade_ptbr_connectors import SpladeEncoder

    encoder = SpladeEncoder.load(
        runner.model,
        runtime=runner.runtime,  # type: ignore[arg-type]
        device=runner.device,
        dtype=runner.dtype,  # type: ignore[arg-type]
        batch_size=runner.batch_size,
        on_long="truncate",  # as sentence-transformers does
    )
    return (
        lambda texts: list(encoder.encode_queries(texts)),
        lambda texts: list(encoder.encode_documents(texts)),
        SparseBatch.from_vectors,
    )


def _sentence_transformers(runner: Runner) -> tuple[Encode, Encode, ToBatch]:
    return *_calls(_sparse_encoder(runner), runner.batch_size), _batch_of_tensor


def _calls(model: Any, batch_size: int) -> tuple[Encode, Encode]:
    settings = {"batch_size": batch_size, "show_progress_bar": False, "save_to_cpu": True}
    return lambda texts: model.encode_query(texts, **settings), lambda texts: model.encode_document(texts, **settings)


def _sparse_encoder(runner: Runner) -> Any:
    from sentence_transformers import SparseEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if runner.channel:
        return SparseEncoder(modules=[_with_channel(runner)], device=runner.device)
    return SparseEncoder(runner.model, device=runner.device, model_kwargs={"dtype": runner.dtype})


def _with_channel(runner: Runner) -> Any:
    """Documents by the network and our channel, queries by a table: what such a model would be in sentence-transformers.

    The output projection is taken out where the channel alone makes the terms, so that neither runner computes logits in vain.
    """
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseStaticEmbedding

    from splade_ptbr_connectors.encoding.folder import find_model
    from splade_ptbr_connectors.encoding.torch_model import SpladeModel

    folder = find_model(runner.channel)
    ours = SpladeModel.from_folder(folder.path, folder.config).to(runner.device)
    if ours.expansion or ours.lexical is None:
        raise RuntimeError(f"{runner.channel!r} has terms beside its lexical channel: sentence-transformers reads its folder itself")
    network = MLMTransformer(runner.model)
    network.model = ours.backbone  # its output projection is out already: features [B, L, H] instead of logits [B, L, V]
    tokenizer: Any = network.tokenizer
    table = SparseStaticEmbedding(tokenizer, weight=_query_table(runner.channel), frozen=True)
    return Router.for_query_document(query_modules=[table], document_modules=[network, _pooling(ours)])


def _query_table(model: str) -> Any:
    """[V] weights of the query table, 0 for terms that it drops."""
    from safetensors.torch import load_file

    from splade_ptbr_connectors.encoding.folder import find_model

    folder = find_model(model)
    return load_file(str(folder.path / str(folder.config.query.file)))["weights"].float().clamp_min(0.0)


def _pooling(ours: Any) -> Any:
    """A module of sentence-transformers that makes [B, V] activations of features by the lexical channel."""
    import torch
    from torch import nn

    class LexicalPooling(nn.Module):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            tokens, ids, mask = features["token_embeddings"], features["input_ids"], features["attention_mask"]
            nothing = torch.zeros(len(tokens), ours.vocab_size, device=tokens.device)
            pooled = ours._add_lexical(nothing, tokens, ids, mask)
            return {**features, "sentence_embedding": torch.log1p(torch.relu(pooled))}

        def get_embedding_dimension(self) -> int:
            return int(ours.vocab_size)

        def save(self, *_: Any, **__: Any) -> None:
            raise NotImplementedError("a module of the benchmark is not saved")

    return LexicalPooling()


def _batch_of_tensor(tensor: Any) -> SparseBatch:
    """A sparse [N, V] tensor as CSR, in order of term ids; weights that are 0 are not terms."""
    tensor = tensor.cpu().coalesce()
    rows, terms = tensor.indices().numpy()
    weights = tensor.values().float().numpy()
    kept = weights > 0
    indptr = np.searchsorted(rows[kept], np.arange(len(tensor) + 1)).astype(np.int64)
    return SparseBatch(indptr, terms[kept].astype(np.uint32), weights[kept])
