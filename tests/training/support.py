"""Tiny models, batches and losses for the tests of large batches and of several processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from training.data.tokens import Tokens
from training.loop.gradcache import batch_backward
from training.models.base import BiEncoder, Encoded

VOCAB = 50


def tiny_splade(seed: int, dropout: float) -> SpladeModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.4,
    )
    return SpladeModel(BertForMaskedLM(config)).train()


class OnlyTrained(BiEncoder):
    """The parts of a model that no test here needs."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"backbone": list(self.parameters())}

    def networks(self) -> list[SpladeModel]:
        return [module for module in self.modules() if isinstance(module, SpladeModel)]

    @property
    def vocab_size(self) -> int:
        return VOCAB

    def round_weights(self, storage: str) -> None:
        raise NotImplementedError

    def save(self, folder: Path, *, storage: str = "float32") -> None:
        raise NotImplementedError


class TinyBiEncoder(OnlyTrained):
    """Both sides by one network."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.splade = tiny_splade(seed, dropout)

    def encode_queries(self, tokens: Tokens) -> Encoded:
        return self.encode_documents(tokens)

    def encode_documents(self, tokens: Tokens) -> Encoded:
        return {"activations": self.splade.activations(tokens.input_ids, tokens.attention_mask)}


class TableBiEncoder(TinyBiEncoder):
    """Queries by a table, without a network."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__(seed, dropout)
        self.table = nn.Parameter(torch.rand(VOCAB))

    def encode_queries(self, tokens: Tokens) -> Encoded:
        occurs = torch.zeros(len(tokens.input_ids), VOCAB).scatter(1, tokens.input_ids, tokens.attention_mask.float())
        return {"activations": occurs * torch.relu(self.table)}


class ManyTensors(TinyBiEncoder):
    """Several float tensors, ids, flags, and a scale that only the scores use."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__(seed, dropout)
        self.projection = nn.Linear(VOCAB, 6)
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def encode_documents(self, tokens: Tokens) -> Encoded:
        activations = self.splade.activations(tokens.input_ids, tokens.attention_mask)
        terms = activations.topk(3, dim=1).indices
        vectors = self.projection(activations).reshape(-1, 3, 2)
        return {"activations": activations, "terms": terms, "vectors": vectors, "empty": activations.amax(1) <= 0}

    def scores(self, queries: Encoded, documents: Encoded) -> Tensor:
        same = (queries["terms"][:, None, :, None] == documents["terms"][None, :, None, :]).float()
        products = torch.einsum("qid,cjd->qcij", queries["vectors"], documents["vectors"])
        return torch.exp(self.log_scale) * (super().scores(queries, documents) + (same * products).sum((2, 3)))


MODELS: dict[str, type[TinyBiEncoder]] = {"shared": TinyBiEncoder, "table": TableBiEncoder, "many": ManyTensors}


def random_tokens(texts: int, longest: int, seed: int) -> Tokens:
    """Texts of 1 to `longest` tokens, padded with 0."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (texts,), generator=generator)
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return Tokens(torch.randint(5, VOCAB, (texts, longest), generator=generator) * mask, mask)


def flops(activations: Tensor) -> Tensor:
    return activations.mean(0).square().sum()


def whole_loss(model: BiEncoder) -> Callable[[Encoded, Encoded], Tensor]:
    """Contrastive over all documents of the batch (query i belongs to document i), FLOPS of both sides."""

    def loss_of(queries: Encoded, documents: Encoded) -> Tensor:
        scores = 0.05 * model.scores(queries, documents)
        ranking = F.cross_entropy(scores, torch.arange(len(scores)))
        return ranking + 0.03 * flops(queries["activations"]) + 0.02 * flops(documents["activations"])

    return loss_of


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Over all tensors of two gradients or states with the same names."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# -- peak memory, measured in a process of its own ---------------------------------------------------------------------------

MID_SIZE = {"vocab_size": 20_000, "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 1024}
MID_BATCH = {"queries": 6, "documents": 12, "length_query": 32, "length_document": 128}
MID_CHUNK = 6


class BertBiEncoder(TinyBiEncoder):
    """Both sides by a random BERT of any size."""

    def __init__(self, **sizes: int) -> None:
        OnlyTrained.__init__(self)
        config = BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.splade = SpladeModel(BertForMaskedLM(config)).train()


def _status(field: str) -> int:
    """Bytes of a line of /proc/self/status; ru_maxrss would include what the parent had at its start."""
    line = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def measure_peaks() -> str:
    """JSON [bytes in pieces, bytes at once]: peaks of AdamW steps of the mid-size model beside what an imported torch takes."""
    torch.set_num_threads(1)
    tiny = BertBiEncoder(vocab_size=20, hidden_size=8, num_attention_heads=1, intermediate_size=8, num_hidden_layers=1)
    adamw_step(tiny, torch.optim.AdamW(tiny.parameters()), {"queries": 2, "documents": 2, "length_query": 3, "length_document": 3}, None)
    before = _status("VmRSS")
    model = BertBiEncoder(**MID_SIZE)
    optimizer, peaks = torch.optim.AdamW(model.parameters(), lr=1e-5), []
    adamw_step(model, optimizer, MID_BATCH, MID_CHUNK)  # from now on there are moments
    for chunk in (MID_CHUNK, None):
        peaks.append(min(_peak_of_a_step(model, optimizer, chunk) for _ in range(3)) - before)  # the allocator may keep a little more
    return json.dumps(peaks)


def _peak_of_a_step(model: TinyBiEncoder, optimizer: torch.optim.Optimizer, chunk: int | None) -> int:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    adamw_step(model, optimizer, MID_BATCH, chunk)
    return _status("VmHWM")


def adamw_step(model: TinyBiEncoder, optimizer: torch.optim.Optimizer, batch: dict[str, int], chunk: int | None) -> None:
    optimizer.zero_grad()
    queries, documents = full_tokens(batch["queries"], batch["length_query"]), full_tokens(batch["documents"], batch["length_document"])
    batch_backward(model, queries, documents, whole_loss(model), chunk=chunk)
    optimizer.step()


def full_tokens(texts: int, length: int) -> Tokens:
    """Texts without padding."""
    return Tokens(torch.randint(5, 20, (texts, length)), torch.ones(texts, length, dtype=torch.long))
