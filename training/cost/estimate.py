"""What a run will cost before it is started: tokens, operations, memory of one process, and time from two measured steps.

Memory and operations are counted from the shapes; time is measured on the device that is going to train. Every figure is an
estimate, and says how far off it may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError
from training.loop.distributed import Shares
from training.loop.gradcache import piece_count
from training.recipe.sections import Training

MEMORY_FACTOR = 2.0
"""The true peak lies between the estimate divided and multiplied by this (tests/training/test_estimate.py measures it)."""
TIME_FACTOR = 1.5
"""Likewise of the time, for steps without validation and saving."""
NUMBER_BYTES = {"float32": 4.0, "bfloat16": 2.5, "float16": 2.5}
"""Bytes of an activation that is kept: with autocast, layer norms stay float32."""
CELL_BYTES = 60
"""Bytes of a term of a text while the head's gradient is computed: activations, logits, winners, their gradients and indices."""
CACHED_CELL_BYTES = 16
"""Bytes of a term of a text that is kept through both passes of GradCache: values, gradients, copies."""
GATHERED_CELL_BYTES = 12
"""Bytes of a term of a text of the whole batch, on each of several processes."""


@dataclass(frozen=True)
class NetworkSizes:
    """What of a model costs memory and time."""

    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    vocab_size: int
    parameters: int
    """Trainable ones of the whole model."""
    linear_parameters: int
    """Weights that every token is multiplied with, without the output projection."""
    dropout: bool = False
    attention_matrices: bool = False
    """Whether the backward pass keeps [heads, L, L] (eager attention; on a CPU also attention with dropout)."""
    gradient_checkpointing: bool = False
    expansion: bool = True
    """Whether there is a product with the vocabulary."""

    @classmethod
    def of(cls, network: SpladeModel, *, parameters: int, device: torch.device | str = "cpu") -> NetworkSizes:
        """Sizes of the document network of a model with so many trainable parameters. ConfigError where a config has no such field."""
        config: Any = network.backbone.config
        dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.backbone.modules())
        linear = sum(module.weight.numel() for module in network.backbone.modules() if isinstance(module, nn.Linear))
        stored = getattr(config, "_attn_implementation", "eager") == "eager" or (torch.device(device).type == "cpu" and dropout)
        return cls(
            layers=_field(config, "num_hidden_layers", "num_layers") if network.contextual else 0,
            hidden_size=_field(config, "hidden_size", "d_model", "dim"),
            intermediate_size=_field(config, "intermediate_size", "d_ff", "hidden_dim"),
            heads=_field(config, "num_attention_heads", "num_heads", "n_heads"),
            vocab_size=network.vocab_size,
            parameters=parameters,
            linear_parameters=linear if network.contextual else 0,
            dropout=dropout,
            attention_matrices=stored,
            gradient_checkpointing=any(getattr(module, "gradient_checkpointing", False) for module in network.backbone.modules()),
            expansion=network.expansion and network.contextual,
        )


def _field(config: Any, *names: str) -> int:
    """A size that architectures call by different names."""
    for name in names:
        if isinstance(value := getattr(config, name, None), int):
            return value
    raise ConfigError(f"the configuration of a {type(config).__name__} has none of {', '.join(names)}: its cost cannot be estimated")


@dataclass(frozen=True)
class TextLengths:
    """Tokens a text, special ones included, as they are cut for training."""

    mean_query: float
    mean_document: float
    longest_query: int
    longest_document: int

    @classmethod
    def of(cls, queries: Sequence[int], documents: Sequence[int], training: Training) -> TextLengths:
        """From the uncut lengths of some queries and documents; ConfigError without any."""
        if not queries or not documents:
            raise ConfigError(f"lengths of {len(queries)} queries and {len(documents)} documents; give one of each at least")
        cut_queries = [min(length, training.length_query) for length in queries]
        cut_documents = [min(length, training.length_document) for length in documents]
        means = sum(cut_queries) / len(cut_queries), sum(cut_documents) / len(cut_documents)
        return cls(*means, max(cut_queries), max(cut_documents))


@dataclass(frozen=True)
class Calibration:
    """Seconds of one batch on one process: overhead + tokens * seconds_per_token; or, if it only grew with the tokens, the rate."""

    overhead_seconds: float
    seconds_per_token: float
    proportional_seconds_per_token: float

    def seconds(self, tokens: float) -> tuple[float, float]:
        """Both answers for a batch of so many tokens, the smaller one first."""
        both = (self.overhead_seconds + tokens * self.seconds_per_token, tokens * self.proportional_seconds_per_token)
        return min(both), max(both)


def calibrate(step: Callable[[int], int], *, few: int, more: int, clock: Callable[[], float] = time.perf_counter) -> Calibration:
    """Times a forward and backward of a small batch and of a larger one, after one that warms up.

    Args:
        step: trains on a batch of so many documents (with their queries, at the run's chunk and precision), waits for the
            device, and returns the tokens of the batch.
        few, more: documents of the two batches; the nearer `more` is to the run's, the better.
    Raises ConfigError unless 0 < few < more and the larger batch has more tokens.
    """
    if not 0 < few < more:
        raise ConfigError(f"a calibration needs two sizes, 0 < few < more, not {few} and {more}")
    step(few)
    timed = []
    for documents in (few, more):
        began = clock()
        tokens = step(documents)
        timed.append((tokens, clock() - began))
    (few_tokens, few_seconds), (more_tokens, more_seconds) = timed
    if not 0 < few_tokens < more_tokens:
        raise ConfigError(f"a calibration's batches have {few_tokens} and {more_tokens} tokens; the second needs more than the first")
    slope = max(0.0, more_seconds - few_seconds) / (more_tokens - few_tokens)
    slope = min(slope, more_seconds / more_tokens)  # an overhead below zero is noise
    return Calibration(more_seconds - slope * more_tokens, slope, more_seconds / more_tokens)


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at the peak of a step, beside what the process and its libraries take anyway."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    vocabulary: int
    """Rows of V terms and the gradient of the output projection, while texts are encoded with a graph."""
    whole_batch: int
    """Representations of the whole batch, where it is encoded in pieces or on several processes."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Estimate:
    """The cost of a run. `seconds` is None without a calibration."""

    steps: int
    batches: int
    queries: int
    documents: int
    pieces: int
    processes: int
    tokens: int
    operations: float
    memory: Memory
    seconds: float | None
    seconds_range: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        memory_range = [int(self.memory.total / MEMORY_FACTOR), int(self.memory.total * MEMORY_FACTOR)]
        return asdict(self) | {"memory_bytes": self.memory.total, "memory_bytes_range": memory_range}

    def table(self) -> list[tuple[str, str]]:
        """Lines for printing: what, and how much."""
        parts = ", ".join(f"{name.replace('_', ' ')} {_size(value)}" for name, value in asdict(self.memory).items())
        low, high = self.memory.total / MEMORY_FACTOR, self.memory.total * MEMORY_FACTOR
        return [
            ("steps", f"{self.steps:,} ({self.batches:,} batches)"),
            (
                "a batch",
                f"{self.queries:,} queries, {self.documents:,} documents; {self.pieces} piece(s) on each of {self.processes} process(es)",
            ),
            ("tokens", f"{self.tokens:,}"),
            ("operations", f"{self.operations:.2e}"),
            ("memory", f"{_size(self.memory.total)} a process (between {_size(low)} and {_size(high)}), beside the libraries"),
            ("of which", parts),
            ("time", self._time()),
        ]

    def _time(self) -> str:
        if self.seconds is None or self.seconds_range is None:
            return "not measured"
        low, high = self.seconds_range
        return f"{_duration(self.seconds)} (between {_duration(low)} and {_duration(high)}), without validation and saving"


def estimate(
    sizes: NetworkSizes,
    training: Training,
    lengths: TextLengths,
    *,
    documents: int,
    processes: int = 1,
    query_network: bool = True,
    calibration: Calibration | None = None,
) -> Estimate:
    """The cost of a run.

    Args:
        documents: of one batch, over all processes.
        query_network: False where queries are encoded by a table.
        calibration: of this model on this device, at this chunk and precision; None leaves the time out.
    Raises ConfigError for a batch that is smaller than the processes and a chunk below 2.
    """
    shares = Shares.of(training.batch_queries, documents, processes)
    pieces = piece_count(*shares.largest, training.gradcache_chunk)
    batches = training.steps * training.accumulation
    tokens = training.batch_queries * lengths.mean_query + documents * lengths.mean_document
    seconds = _seconds(calibration, batches, tokens * shares.largest[1] / documents)
    return Estimate(
        steps=training.steps,
        batches=batches,
        queries=training.batch_queries,
        documents=documents,
        pieces=pieces,
        processes=processes,
        tokens=round(batches * tokens),
        operations=batches * _operations(sizes, training, lengths, documents, pieces, query_network),
        memory=_memory(sizes, training, lengths, shares, pieces, query_network),
        seconds=None if seconds is None else (seconds[0] * seconds[1]) ** 0.5,
        seconds_range=None if seconds is None else (seconds[0] / TIME_FACTOR, seconds[1] * TIME_FACTOR),
    )


def _seconds(calibration: Calibration | None, batches: int, tokens: float) -> tuple[float, float] | None:
    if calibration is None:
        return None
    low, high = calibration.seconds(tokens)
    return batches * low, batches * high


def _operations(sizes: NetworkSizes, training: Training, lengths: TextLengths, documents: int, pieces: int, query_network: bool) -> float:
    """Additions and multiplications of one batch, padding not counted."""
    sides = [(documents, lengths.mean_document)] + ([(training.batch_queries, lengths.mean_query)] if query_network else [])
    terms = sizes.vocab_size if sizes.expansion else 0
    total = 6.0 * training.batch_queries * documents * sizes.vocab_size  # scores, and their gradient on either side
    for texts, mean in sides:
        network = texts * mean * (2 * sizes.linear_parameters + 4 * sizes.layers * mean * sizes.hidden_size)
        head = 2 * texts * mean * sizes.hidden_size * terms
        forwards = 1 + (pieces > 1)
        backward = (2 + sizes.gradient_checkpointing) * network + 4 * texts * sizes.hidden_size * terms  # the winning tokens only
        total += forwards * (network + head) + backward
    return total


def _memory(sizes: NetworkSizes, training: Training, lengths: TextLengths, shares: Shares, pieces: int, query_network: bool) -> Memory:
    queries, documents = shares.largest
    encoded = [(-(-documents // pieces), lengths.longest_document)]
    if query_network:
        encoded.append((-(-queries // pieces), lengths.longest_query))
    several, mixed = len(shares.queries) > 1, training.precision != "float32"
    cells = sum(texts for texts, _ in encoded) * sizes.vocab_size
    cached = (queries + documents) * sizes.vocab_size * CACHED_CELL_BYTES if pieces > 1 else 0
    gathered = (sum(shares.queries) + sum(shares.documents)) * sizes.vocab_size * GATHERED_CELL_BYTES if several else 0
    # the lookup and the output projection share a matrix, and each makes a gradient of its size
    tables = 2 * 4 * sizes.vocab_size * sizes.hidden_size if sizes.expansion else 0
    return Memory(
        weights=sizes.parameters * (6 if mixed else 4),
        gradients=sizes.parameters * (8 if several else 4),
        optimizer=sizes.parameters * 8,
        activations=sum(_activations(sizes, training.precision, texts, length) for texts, length in encoded),
        vocabulary=cells * CELL_BYTES + tables,
        whole_batch=cached + gathered,
    )


def _activations(sizes: NetworkSizes, precision: str, texts: int, length: int) -> int:
    """Bytes that the backward pass of the backbone needs.

    A layer keeps 9 H + 2 I numbers a token (the 34 H bytes of half precision of arXiv 2205.05198, for I = 4 H), dropout 4 H
    more, attention four matrices where it keeps them. With checkpointing a layer keeps its input, and one layer is whole.
    """
    hidden = sizes.hidden_size
    layer = length * (9 * hidden + 2 * sizes.intermediate_size + (4 * hidden if sizes.dropout else 0))
    layer += 4 * sizes.heads * length**2 if sizes.attention_matrices else 0
    layers = sizes.layers * length * hidden + layer if sizes.gradient_checkpointing else sizes.layers * layer
    embeddings_and_head = 6 * length * hidden if sizes.layers else 0
    return int(texts * (layers + embeddings_and_head) * NUMBER_BYTES[precision])


def _size(number: float) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def _duration(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86_400:,.1f} days"
