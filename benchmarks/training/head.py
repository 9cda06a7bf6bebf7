"""Texts/s and peak memory of a training step through the lean head, against the plain head that builds the [B, L, V] logits."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.harness.machine import machine
from benchmarks.harness.memory import peak_bytes
from benchmarks.harness.rounds import Rates, Ratio, compare

if TYPE_CHECKING:
    from torch import Tensor

    from splade_ptbr_connectors.encoding.torch_model import SpladeModel

VOCABULARY, HIDDEN = 29_794, 768
SHARES = {"untrained": 1.0, "trained": 0.006}
"""Share of activations > 0: all of them, as after a random start, or about 180 terms a text, as trained models have."""
YARDSTICK = "published, not measured here: 33 triplets/s, SPLADE on BERTimbau base, batch 16, 384 tokens, float32, one A100"


class Part(StrEnum):
    """What a step goes through."""

    head = "head"
    model = "model"


class Device(StrEnum):
    """Where it runs."""

    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """float32 throughout, or torch.autocast with bfloat16."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(frozen=True)
class Step:
    """What one process measures. `texts` counts triplets in the part "model"."""

    part: str
    head: str
    regime: str
    device: str
    precision: str
    texts: int
    tokens: int
    query_tokens: int
    layers: int

    @property
    def side(self) -> str:
        """Its name in the tables."""
        return f"{self.head}, {self.regime}"


@dataclass(frozen=True)
class Measured:
    """Texts (or triplets) a second, bytes a step needed beyond what was there before it, share of activations > 0."""

    rate: float
    peak_bytes: float
    active: float


def head(
    part: Annotated[Part, typer.Option(help="The head alone on given features, or a step of a whole BERT on triplets.")] = Part.head,
    texts: Annotated[int | None, typer.Option(help="Texts of a step (default: 32), or triplets (default: 4).", min=1)] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of a text, or of each document.", min=1, max=512)] = 256,
    query_tokens: Annotated[int, typer.Option(help="Tokens of a query; of --part model only.", min=1, max=512)] = 32,
    layers: Annotated[int, typer.Option(help="Layers of the model; of --part model only.", min=1)] = 12,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.cpu,
    precision: Annotated[Precision, typer.Option(help="float32, or autocast to bfloat16.")] = Precision.float32,
    rounds: Annotated[int, typer.Option(help="Rounds; each runs every side once, in a process of its own.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Forward and backward through the lean and the plain head, random weights, V 29,794, H 768 (goals: rate 1.00, memory 0.25).

    Published, not measured here, to compare --part model with: 33 triplets/s (batch 16, 384 tokens, float32, one A100).
    """
    if device is Device.cuda:
        _check_cuda()
    size = texts or (32 if part is Part.head else 4)
    steps = [
        Step(part, kind, regime, device, precision, size, tokens, query_tokens, layers) for regime in SHARES for kind in ("plain", "lean")
    ]
    measured = _rounds(steps, rounds)
    unit = "texts" if part is Part.head else "triplets"
    settings = {"part": part, unit: size, "tokens": tokens, "device": device, "precision": precision, "rounds": rounds}
    if part is Part.model:
        settings |= {"query_tokens": query_tokens, "layers": layers}
    settings["active"] = {name: round(statistics.median(each.active for each in found), 4) for name, found in measured.items()}
    rates = {name: [each.rate for each in found] for name, found in measured.items()}
    peaks = {name: [each.peak_bytes for each in found] for name, found in measured.items()}
    _show(settings, unit, rates, peaks, _comparisons(rates, peaks), as_json=as_json)


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise typer.BadParameter("no CUDA device here; use --device cpu", param_hint="--device")


def _rounds(steps: list[Step], rounds: int) -> dict[str, list[Measured]]:
    """Every step in turn, in alternating order, each time in a fresh process: the peak of a process never falls."""
    found: dict[str, list[Measured]] = {step.side: [] for step in steps}
    context = multiprocessing.get_context("spawn")
    for number in range(rounds):
        for step in steps if number % 2 == 0 else reversed(steps):
            with ProcessPoolExecutor(1, mp_context=context) as processes:
                found[step.side].append(processes.submit(measure_step, step).result())
    return found


def _comparisons(rates: Rates, peaks: Rates) -> list[Ratio]:
    """Of each regime: the rate, and the memory as plain / lean, so that more is better in both."""
    found = []
    for regime in SHARES:
        plain, lean = f"plain, {regime}", f"lean, {regime}"
        found.append(compare(f"rate, {regime}", rates, lean, plain, 1.0))
        found.append(compare(f"memory, {regime}", peaks, plain, lean, 4.0))
    return found


def _show(settings: dict[str, Any], unit: str, rates: Rates, peaks: Rates, comparisons: list[Ratio], *, as_json: bool) -> None:
    if as_json:
        content = {
            "benchmark": "head",
            "settings": settings,
            "machine": machine(),
            f"{unit}_per_second": {name: {"median": statistics.median(each), "rounds": each} for name, each in rates.items()},
            "peak_bytes": {name: {"median": statistics.median(each), "rounds": each} for name, each in peaks.items()},
            "comparisons": [asdict(comparison) for comparison in comparisons],
            "yardstick": YARDSTICK,
        }
        typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
        return
    typer.echo(f"head: {', '.join(f'{key} {value}' for key, value in settings.items())}")
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    width = max(map(len, rates))
    for name, each in rates.items():
        rounds = ", ".join(f"{rate:.2f}" for rate in each)
        memory = f"{statistics.median(peaks[name]) / 2**20:7,.0f} MiB"
        typer.echo(f"{name:{width}}  {statistics.median(each):8.2f} {unit}/s   peak {memory}   rounds: {rounds}")
    typer.echo()
    for line in comparisons:
        goal = "" if line.goal is None else f"   goal {line.goal:.2f}: {line.verdict}"
        typer.echo(f"{line.name}: {line.ratio:.2f} ({line.subject} / {line.baseline}){goal}")
    typer.echo(f"yardstick of triplets/s, {YARDSTICK}")


def measure_step(step: Step) -> Measured:
    """Forward and backward passes in this process, after the libraries have been started."""
    import torch

    torch.manual_seed(0)
    on_gpu = step.device == Device.cuda
    run = _head_step(step) if step.part == Part.head else _model_step(step)
    for _ in range(2 if on_gpu else 0):  # a GPU gets its kernels at first use; on a CPU, what is freed would hide in the peak
        run()
    repeats = 10 if on_gpu else 1
    before = _memory(step.device, restart=True)
    started = time.perf_counter()
    for _ in range(repeats):
        active = run()
    seconds = (time.perf_counter() - started) / repeats
    return Measured(step.texts / seconds, _memory(step.device) - before, active)


def _memory(device: str, *, restart: bool = False) -> float:
    """Largest number of bytes so far: resident in this process, or allocated on the GPU since the last restart."""
    if device == Device.cuda:
        import torch

        if restart:
            torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.max_memory_allocated())
    return float(peak_bytes())


def _head_step(step: Step) -> Callable[[], float]:
    """The head alone on given features; returns the share of activations > 0."""
    import torch

    features = torch.randn(step.texts, step.tokens, HIDDEN, device=step.device)
    if step.precision == Precision.bfloat16:  # what a linear layer gives under autocast
        features = features.to(torch.bfloat16)
    weight = torch.randn(VOCABULARY, HIDDEN, device=step.device).mul_(HIDDEN**-0.5).requires_grad_()
    bias = torch.zeros(VOCABULARY, device=step.device, requires_grad=True)
    mask = torch.ones(step.texts, step.tokens, dtype=torch.long, device=step.device)
    _set_regime(step, bias, _lean(features[:2], weight, bias, mask[:2]))
    features.requires_grad_()
    chosen = _lean if step.head == "lean" else _plain

    def run() -> float:
        features.grad = weight.grad = bias.grad = None
        with torch.autocast(step.device, torch.bfloat16, enabled=step.precision == Precision.bfloat16):
            activations = chosen(features, weight, bias, mask)
            torch.autograd.backward(activations.sum())
        return _active(activations)

    return run


def _model_step(step: Step) -> Callable[[], float]:
    """A step on triplets through a BERT with random weights; returns the share of document activations > 0."""
    import torch
    from torch.nn import functional
    from transformers import BertConfig, BertForMaskedLM

    from splade_ptbr_connectors.encoding.torch_model import SpladeModel

    backbone = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, num_hidden_layers=step.layers)).train()
    queries, documents = (
        torch.randint(5, VOCABULARY, size, device=step.device) for size in ((step.texts, step.query_tokens), (2 * step.texts, step.tokens))
    )
    lean = SpladeModel(backbone).to(step.device)
    with torch.no_grad():
        _set_regime(step, lean.head_bias, lean.activations(documents[:2], torch.ones_like(documents[:2])))
    encode = lean.activations if step.head == "lean" else _plain_encoder(lean)

    def run() -> float:
        lean.zero_grad(set_to_none=True)
        with torch.autocast(step.device, torch.bfloat16, enabled=step.precision == Precision.bfloat16):
            query, found = encode(queries, torch.ones_like(queries)), encode(documents, torch.ones_like(documents))
            scores = (query.unsqueeze(1) * found.view(step.texts, 2, -1)).sum(2)
            flops = found.mean(0).square().sum()
            torch.autograd.backward(functional.softplus(scores[:, 1] - scores[:, 0]).mean() + 1e-3 * flops)
        return _active(found)

    return run


def _plain_encoder(model: SpladeModel) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda ids, mask: _plain(model.features(ids, mask), model.head.weight, model.head_bias, mask)


def _plain(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """[B, V] activations by the definition: all logits, then their maximum."""
    import torch
    from torch.nn import functional

    logits = functional.linear(features, weight, bias).masked_fill(~mask.bool().unsqueeze(2), -torch.inf)
    return torch.log1p(torch.relu(logits.max(1).values.float()))


def _lean(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    import torch

    from splade_ptbr_connectors.encoding.pooling import max_over_tokens

    return torch.log1p(torch.relu(max_over_tokens(features, weight, bias, mask)))


def _set_regime(step: Step, bias: Tensor, activations: Tensor) -> None:
    """Lowers every bias until the wanted share of activations is > 0. `activations`: of a few texts, with bias 0."""
    import torch

    share = SHARES[step.regime]
    if share < 1.0:
        with torch.no_grad():
            bias.fill_(-float(torch.quantile(torch.expm1(activations).flatten(), 1.0 - share)))


def _active(activations: Tensor) -> float:
    return float((activations > 0).float().mean())
