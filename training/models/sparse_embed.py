"""SparseEmbed (Kong et al., SIGIR 2023): a small contextual embedding for each of a text's heaviest terms.

Letters for shapes: B texts, Q queries, C documents, L tokens, V vocabulary, H hidden size, K kept terms of a text.

    a_ij = softmax over the tokens i of z_ij          padding takes no part; only for the K heaviest terms j
    e_j  = ReLU(W sum_i a_ij h_i)                     h: what the output projection gets; W: [size, H]
    s    = sum over the terms j of both sides of e_q,j . e_d,j        0 where there is none

The logits z are those of the model's own head, [B, L, K] of them: a token's softmax over the terms, which some
implementations have in its place, is another model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from splade_ptbr_connectors.encoding.config import EncoderConfig, read_json_object
from splade_ptbr_connectors.encoding.quantization import round_model
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from training.data.tokens import Tokens
from training.models.base import BiEncoder, Encoded
from training.recipe.sections import SparseEmbed

WEIGHTS_FILE = "sparse_embed.safetensors"
SETTINGS_FILE = "sparse_embed.json"
ACTIVATIONS = ("log1p_relu", "log1p_log1p_relu")


class SparseEmbedEncoder(BiEncoder):
    """Queries and documents by one masked language model, each term with an embedding.

    Encoded: "activations" [B, V]; "terms" [B, K] int64, the heaviest terms first, -1 where a text has fewer;
    "embeddings" [B, K, size] float32 >= 0, zero where the term is -1.

    Args:
        splade: the network and its sparse activations; without a lexical channel.
        section: sizes; `sparse_weight` is the trainer's business.
        activation: "log1p_relu" or "log1p_log1p_relu" (arXiv 2504.14839).
        special: terms that never have a weight, nor an embedding.
    """

    def __init__(self, splade: SpladeModel, section: SparseEmbed, *, activation: str = "log1p_relu", special: Sequence[int] = ()) -> None:
        super().__init__()
        if splade.lexical is not None or not splade.contextual or not splade.expansion:
            raise ConfigError("sparse_embed needs a plain SPLADE model: no lexical channel, with its network and its output projection")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {activation!r}; accepted: {', '.join(ACTIVATIONS)}")
        self.splade = splade
        self.section = section
        self.twice = activation == "log1p_log1p_relu"
        keep = torch.ones(splade.vocab_size)
        keep[list(special)] = 0.0
        self.register_buffer("keep", keep, persistent=False)
        self.projection = nn.Linear(splade.head.weight.shape[1], section.size, bias=False)

    keep: Tensor

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.splade.vocab_size

    def encode_queries(self, tokens: Tokens) -> Encoded:
        """Representations of queries, `terms_query` terms each."""
        return self._encode(tokens, self.section.terms_query)

    def encode_documents(self, tokens: Tokens) -> Encoded:
        """Representations of documents, `terms_document` terms each."""
        return self._encode(tokens, self.section.terms_document)

    def scores(self, queries: Encoded, documents: Encoded) -> Tensor:
        """[Q, C] sums over common terms of the dot products of embeddings; exactly 0 without a common term."""
        return common_term_scores(queries["terms"], queries["embeddings"], documents["terms"], documents["embeddings"])

    def auxiliary_scores(self, queries: Encoded, documents: Encoded) -> Tensor | None:
        """[Q, C] dot products of the activations: without them the network would not learn which terms to keep."""
        return queries["activations"] @ documents["activations"].t()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The network with its head as "backbone", the projection W as "embedding"."""
        modules = {"backbone": self.splade, "embedding": self.projection}
        return {name: [p for p in module.parameters() if p.requires_grad] for name, module in modules.items()}

    def networks(self) -> list[SpladeModel]:
        """The one network of both sides."""
        return [self.splade]

    @torch.no_grad()
    def round_weights(self, storage: str) -> None:
        """Rounds the network as `round_model` does, and the projection to float16 unless the storage is float32."""
        round_model(self.splade, storage)
        if storage != "float32":
            self.projection.weight.copy_(self.projection.weight.half().float())

    def save(self, folder: Path, *, storage: str = "float32") -> None:
        """Writes the network's files, sparse_embed.safetensors (`projection` [size, H]) and sparse_embed.json."""
        dtype = None if storage == "float32" else torch.float16
        self.splade.save_folder(folder, dtype=dtype)
        projection = self.projection.weight.detach().to("cpu", dtype).contiguous()
        save_file({"projection": projection}, str(folder / WEIGHTS_FILE))
        (folder / SETTINGS_FILE).write_text(json.dumps(self.section.model_dump(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, config: Any = None, special: Sequence[int] = ()) -> SparseEmbedEncoder:
        """The encoder of a folder, in evaluation mode.

        Args:
            config: `pooling`, `activation` and `lexical` as in EncoderConfig; None: the folder's splade.json.
            special: as in the constructor; the tokenizer's special ids, which splade.json does not list.
        Raises: ModelFormatError for files that are missing or do not fit each other.
        """
        section = _read_section(folder)
        config = EncoderConfig.read(folder) if config is None else config
        encoder = cls(SpladeModel.from_folder(folder, config), section, activation=config.activation, special=special)
        weight = _read_projection(folder)
        if weight.shape != encoder.projection.weight.shape:
            found, expected = list(weight.shape), list(encoder.projection.weight.shape)
            raise ModelFormatError(f"{folder / WEIGHTS_FILE}: 'projection' is {found}, the model needs {expected}; save it again")
        encoder.projection.weight.data.copy_(weight)
        return encoder.eval()

    def _encode(self, tokens: Tokens, count: int) -> Encoded:
        activations, features = activations_and_features(self.splade, tokens)
        activations = (torch.log1p(activations) if self.twice else activations) * self.keep
        terms = heaviest_terms(activations, count)
        return {"activations": activations, "terms": terms, "embeddings": self._embeddings(features, terms, tokens.attention_mask)}

    def _embeddings(self, features: Tensor, terms: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, K, size]; the head's bias is the same for every token, so the softmax does not see it."""
        kept = terms >= 0
        rows = F.embedding(terms.clamp_min(0), self.splade.head.weight).to(features.dtype)
        logits = torch.einsum("blh,bkh->bkl", features, rows).float()
        padding = ~attention_mask.bool().unsqueeze(1)
        shares = logits.masked_fill(padding, torch.finfo(logits.dtype).min).softmax(dim=2)
        projected = self.projection(features).to(shares.dtype)  # [B, L, size]: W before the mean over tokens, which is linear
        return torch.relu(shares @ projected).float() * kept.unsqueeze(2)


def heaviest_terms(activations: Tensor, count: int) -> Tensor:
    """[B, K] int64 the `count` heaviest terms (all V if there are fewer), heaviest first; -1 where the activation is 0."""
    values, terms = activations.detach().topk(min(count, activations.shape[1]), dim=1)
    return terms.masked_fill(values <= 0, -1)


def common_term_scores(query_terms: Tensor, query_embeddings: Tensor, document_terms: Tensor, document_embeddings: Tensor) -> Tensor:
    """[Q, C] sums over common terms of dot products, by joining the terms of both sides; nothing has the vocabulary's size.

    Memory: size floats for every match of a query's term with a document's, at most Q C min(K_q, K_d) of them.

    Args:
        query_terms: [Q, K_q] int64, -1 for none, no term twice in a row; query_embeddings: [Q, K_q, size]; documents alike.
    """
    queries, documents = query_terms.shape[0], document_terms.shape[0]
    left, right = _matches(query_terms.reshape(-1), document_terms.reshape(-1))
    products = (query_embeddings.flatten(0, 1)[left] * document_embeddings.flatten(0, 1)[right]).sum(dim=1)
    pairs = left.div(query_terms.shape[1], rounding_mode="floor") * documents
    pairs = pairs + right.div(document_terms.shape[1], rounding_mode="floor")
    return products.new_zeros(queries * documents).index_add(0, pairs, products).view(queries, documents)


def _matches(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (i, j) of every left[i] == right[j] >= 0."""
    order = right.argsort(stable=True)
    ordered = right[order]
    used = (left >= 0).nonzero().squeeze(1)
    first, last = torch.searchsorted(ordered, left[used]), torch.searchsorted(ordered, left[used], right=True)
    counts = last - first
    within = torch.arange(int(counts.sum()), device=left.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return used.repeat_interleave(counts), order[first.repeat_interleave(counts) + within]


def activations_and_features(splade: SpladeModel, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """[B, V] activations and the [B, L, H] features they were made from, in one pass of the network."""
    seen: list[Tensor] = []
    handle = splade.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output.logits))
    try:
        activations = splade.activations(tokens.input_ids, tokens.attention_mask)
    finally:
        handle.remove()
    return activations.float(), seen[-1]


def _read_section(folder: Path) -> SparseEmbed:
    """The sizes of a saved folder."""
    path = folder / SETTINGS_FILE
    values = read_json_object(path)
    expected = SparseEmbed.model_fields.keys()
    try:
        if values.keys() == expected:
            return SparseEmbed.model_validate(values)
    except ValidationError:
        pass
    raise ModelFormatError(f"{path} holds {sorted(values)}; expected {', '.join(expected)}, sizes of 1 or more: save the model again")


def _read_projection(folder: Path) -> Tensor:
    path = folder / WEIGHTS_FILE
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ModelFormatError(f"{path} cannot be read: {error}. Save the model again.") from error
    if "projection" not in tensors:
        found = ", ".join(sorted(tensors)) or "nothing"
        raise ModelFormatError(f"{path} has no tensor 'projection' (found: {found}); save the model again")
    return tensors["projection"]
