"""SPLADE in torch: any masked language model, pooled without a [B, L, V] tensor.

Letters for shapes: B texts, L tokens, V vocabulary, H hidden size, K neighbours of a term.

A model is a transformers masked language model (or a T5 encoder, t5.py) and, optionally, a *lexical channel*: an explicit,
learnable bonus for the terms that occur in the text, shaped like BM25, so that a small model starts as BM25 and learns what
to add:

    z_ij = f_i . W_j + b_j                                               any pair of token i and term j
    z_ij = expm1(gain * exp(f_i . v) * tf (k1 + 1) / (tf + k1 (1 - b + b length / average_length)))     where larger
    w_j  = log1p(relu(max_i z_ij))                               SPLADE-max (arXiv 2109.10086), special tokens included

The second line holds for j = x_i (``gain[x_i]``) and for the neighbours of x_i (``neighbour_gain[x_i, k]``); f_i . v is how
much token i matters in its context (``importance`` v, zero at the start: pure BM25).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from splade_ptbr_connectors.atomic import unshare
from splade_ptbr_connectors.errors import ConfigError

from .backbone import load_backbone as load_backbone
from .pooling import max_over_tokens, sum_over_tokens
from .tokens import load_tokenizer, special_ids

LEXICAL_FILE = "lexical.safetensors"
POOLINGS = ("max", "sum")


class LexicalParameters(Protocol):
    """The `lexical` section of `splade.json`."""

    k1: float
    b: float
    average_length: float

    @property
    def special_ids(self) -> Any: ...


class LexicalChannel(nn.Module):
    """BM25-shaped bonus of the terms that occur in a text and of their neighbours (inflections, synonyms).

    Args:
        gain: [V] weight of a term that occurs.
        k1, b, average_length: BM25's parameters; lengths are counted in tokens without special tokens.
        special_ids: tokens that have no bonus and no length.
        classes: [V] int; tokens of one class are counted together (one stem). Default: every token alone.
        neighbours: [V, K] int, -1 where there is none; `neighbour_gain`: [V, K] their weights.
        importance: [H] from the features of a token to the logarithm of its importance; None: all alike.
    """

    def __init__(
        self,
        gain: Tensor,
        *,
        k1: float,
        b: float,
        average_length: float,
        special_ids: list[int],
        classes: Tensor | None = None,
        neighbours: Tensor | None = None,
        neighbour_gain: Tensor | None = None,
        importance: Tensor | None = None,
    ) -> None:
        super().__init__()
        vocab_size = gain.shape[0]
        if (neighbours is None) != (neighbour_gain is None):
            raise ConfigError("a lexical channel needs both neighbours and neighbour_gain, or neither")
        if neighbours is None or neighbour_gain is None:
            neighbours = torch.full((vocab_size, 0), -1, dtype=torch.int32)
            neighbour_gain = torch.zeros(vocab_size, 0)
        classes = torch.arange(vocab_size, dtype=torch.int32) if classes is None else classes
        self.k1, self.b, self.average_length = float(k1), float(b), float(average_length)
        self.special_ids = [int(i) for i in special_ids]
        self.gain = nn.Parameter(gain.detach().to(torch.float32).clone())
        self.neighbour_gain = nn.Parameter(neighbour_gain.detach().to(torch.float32).clone())
        self.importance = None if importance is None else nn.Parameter(importance.detach().to(torch.float32).clone())
        special = torch.zeros(vocab_size, dtype=torch.bool)
        special[[i for i in self.special_ids if 0 <= i < vocab_size]] = True
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("classes", classes.to(torch.int32), persistent=False)
        self.register_buffer("neighbours", neighbours.to(torch.int32), persistent=False)

    special: Tensor
    classes: Tensor
    neighbours: Tensor

    def saturation(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, L] BM25's tf (k1 + 1) / (tf + k1 (1 - b + b length / average_length)); 0 for special tokens and padding."""
        counted = attention_mask.bool() & ~self.special[input_ids]
        classes = self.classes[input_ids]
        same = classes.unsqueeze(2) == classes.unsqueeze(1)
        frequency = (same & counted.unsqueeze(1)).sum(2).to(torch.float32)
        length = counted.sum(1, keepdim=True).to(torch.float32)
        norm = self.k1 * (1.0 - self.b + self.b * length / self.average_length)
        return torch.where(counted, frequency * (self.k1 + 1.0) / (frequency + norm), torch.zeros_like(frequency))

    def weighted(self, saturation: Tensor, features: Tensor | None) -> Tensor:
        """[B, L] saturation times the importance of each token in its context, exp(f . v) between e^-3 and e^1."""
        if self.importance is None or features is None:
            return saturation
        return saturation * torch.exp((features @ self.importance).clamp(-3.0, 1.0))

    def tensors(self) -> dict[str, Tensor]:
        """What `lexical.safetensors` holds."""
        tensors = {"gain": self.gain, "classes": self.classes}
        if self.neighbours.shape[1]:
            tensors |= {"neighbours": self.neighbours, "neighbour_gain": self.neighbour_gain}
        if self.importance is not None:
            tensors["importance"] = self.importance
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: LexicalParameters) -> LexicalChannel:
        """The channel of a saved folder."""
        if "gain" not in tensors:
            raise ConfigError(f"{LEXICAL_FILE} has no tensor 'gain' (found: {', '.join(sorted(tensors)) or 'nothing'})")
        return cls(
            tensors["gain"],
            k1=settings.k1,
            b=settings.b,
            average_length=settings.average_length,
            special_ids=[int(i) for i in settings.special_ids],
            classes=tensors.get("classes"),
            neighbours=tensors.get("neighbours"),
            neighbour_gain=tensors.get("neighbour_gain"),
            importance=tensors.get("importance"),
        )


class _HeadLeftOut(nn.Module):
    """Stands where the output projection was, so that the backbone returns the features f instead of the logits."""

    def forward(self, features: Tensor) -> Tensor:
        return features


def _parent_of(root: nn.Module, wanted: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds `wanted` as an attribute, and the attribute's name."""
    for name, module in root.named_modules():
        if module is wanted and name:
            parent, _, attribute = name.rpartition(".")
            return root.get_submodule(parent), attribute
    raise ConfigError("the model has no output projection of its own: SPLADE needs a masked language model head")


class SpladeModel(nn.Module):
    """A masked language model that turns token ids into activations over its vocabulary.

    Args:
        backbone: any transformers model with a masked language model head, e.g. of backbone.load_backbone.
        lexical: the lexical channel, or None for plain SPLADE.
        pooling: "max" or "sum" (sum has no lexical channel).
        contextual: False switches the backbone off and leaves the lexical channel alone.
        expansion: False leaves the output projection out: the backbone only weighs the terms of the lexical channel.
        unpooled_ids: tokens whose positions take no part in the pooling; the network still attends to them.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        lexical: LexicalChannel | None = None,
        pooling: str = "max",
        contextual: bool = True,
        expansion: bool = True,
        unpooled_ids: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling is {pooling!r}; accepted: {', '.join(POOLINGS)}")
        if lexical is not None and pooling != "max":
            raise ConfigError("the lexical channel needs pooling 'max'")
        decoder: Any = backbone.get_output_embeddings()  # type: ignore[no-untyped-call]
        if decoder is None or not hasattr(decoder, "weight"):
            raise ConfigError(f"{type(backbone).__name__} has no masked language model head")
        self.backbone = backbone
        self.lexical = lexical
        self.pooling = pooling
        self.contextual = contextual
        self.expansion = expansion
        self.search_dtype = torch.float32
        self.register_buffer("unpooled_ids", torch.tensor(sorted(set(unpooled_ids)), dtype=torch.int64), persistent=False)
        self._decoder_place = _parent_of(backbone, decoder)
        self.head = decoder
        setattr(*self._decoder_place, _HeadLeftOut())

    unpooled_ids: Tensor

    @property
    def vocab_size(self) -> int:
        return int(self.head.weight.shape[0])

    @property
    def head_bias(self) -> Tensor:
        """[V] bias of the output projection (zeros where the architecture has none)."""
        bias = getattr(self.head, "bias", None)
        return torch.zeros(self.vocab_size, device=self.head.weight.device) if bias is None else bias

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, L, H] what the output projection would get."""
        output: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).logits
        return output

    def activations(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, V] float32 activations >= 0 of [B, L] token ids; positions with mask 0 take no part."""
        if self.pooling == "sum":
            summed = self.features(input_ids, attention_mask)
            return sum_over_tokens(summed, self.head.weight, self.head_bias, self._pooled_mask(input_ids, attention_mask))
        pooled, features = self._contextual_logits(input_ids, attention_mask)
        if self.lexical is not None:
            pooled = self._add_lexical(pooled, features, input_ids, attention_mask)
        return torch.log1p(torch.relu(pooled))

    forward = activations

    def _pooled_mask(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, L] 1 for the positions that are pooled."""
        if not len(self.unpooled_ids):
            return attention_mask
        return attention_mask * ~torch.isin(input_ids, self.unpooled_ids)

    def _contextual_logits(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """[B, V] pooled logits of the backbone and its features; (zeros, None) when the backbone is off."""
        nothing = torch.zeros(input_ids.shape[0], self.vocab_size, device=input_ids.device)
        if not self.contextual:
            return nothing, None
        features = self.features(input_ids, attention_mask)
        if not self.expansion:
            return nothing, features  # the maximum of the lexical channel's pairs and 0
        weight, bias = self.head.weight, self.head_bias
        mask = self._pooled_mask(input_ids, attention_mask)
        pooled = max_over_tokens(features, weight, bias, mask, search_dtype=self.search_dtype)
        return pooled, features

    def _add_lexical(self, pooled: Tensor, features: Tensor | None, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, V] maximum of the pooled logits and of the logits of the lexical pairs."""
        lexical = self.lexical
        if lexical is None:
            return pooled
        saturation = lexical.weighted(lexical.saturation(input_ids, attention_mask), features)
        neighbours = lexical.neighbours[input_ids].long()
        terms = torch.cat([input_ids.unsqueeze(2), neighbours], dim=2)  # [B, L, 1 + K]
        gains = torch.cat([lexical.gain[input_ids].unsqueeze(2), lexical.neighbour_gain[input_ids]], dim=2)
        real = (terms >= 0) & (saturation > 0).unsqueeze(2)
        text, token, _ = real.nonzero(as_tuple=True)
        term = terms[real]
        logits = torch.expm1(gains[real] * saturation[text, token])
        flat = pooled.reshape(-1).scatter_reduce(0, text * self.vocab_size + term, logits, reduce="amax")
        return flat.view_as(pooled)

    @classmethod
    def from_folder(cls, path: str | Path, config: Any, *, unpooled_ids: Sequence[int] | None = None) -> SpladeModel:
        """The model of a folder, or of its subfolder `query`.

        Args:
            config: has the fields `pooling`, `lexical` and, when it is not True, `pool_special_tokens` of `splade.json`.
            unpooled_ids: for pool_special_tokens False; default: the special tokens of the folder's own tokenizer.

        Raises:
            ModelFormatError: see backbone.load_backbone; or the ids are needed and the folder has no tokenizer.
        """
        folder = Path(path)
        backbone = load_backbone(folder)
        unpooled = _unpooled_ids(folder, config, backbone, unpooled_ids)
        lexical, expansion = None, True
        if config.lexical is not None:
            tensors = load_file(str(folder / LEXICAL_FILE))
            lexical = LexicalChannel.from_tensors(tensors, config.lexical)
            expansion = bool(tensors["expansion"].item()) if "expansion" in tensors else True
        return cls(backbone, lexical=lexical, pooling=config.pooling, expansion=expansion, unpooled_ids=unpooled).eval()

    def save_folder(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Writes config.json, model.safetensors and, with a lexical channel, lexical.safetensors (`dtype`: of the floats)."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*folder.glob("*.json"), *folder.glob("*.safetensors")):
            unshare(file)  # the libraries write in place
        state = self._backbone_state()
        if dtype is not None:
            state = _as_dtype(state, dtype)
        setattr(*self._decoder_place, self.head)
        try:
            self.backbone.save_pretrained(str(folder), state_dict=state)
        finally:
            setattr(*self._decoder_place, _HeadLeftOut())
        if self.lexical is not None:
            tensors = self.lexical.tensors() | {"expansion": torch.tensor([self.expansion], dtype=torch.uint8)}
            save_file(_narrow(tensors, dtype), str(folder / LEXICAL_FILE))

    def _backbone_state(self) -> dict[str, Tensor]:
        """The backbone's tensors with the output projection back in its place."""
        setattr(*self._decoder_place, self.head)
        try:
            return dict(self.backbone.state_dict())
        finally:
            setattr(*self._decoder_place, _HeadLeftOut())


def _unpooled_ids(folder: Path, config: Any, backbone: PreTrainedModel, given: Sequence[int] | None) -> Sequence[int]:
    """The ids that the settings take out of the pooling."""
    if getattr(config, "pool_special_tokens", True):
        return ()
    return special_ids(load_tokenizer(folder, backbone.config.vocab_size)) if given is None else given


def _as_dtype(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Floats as `dtype`; tensors that were one (tied weights) stay one, and are stored once."""
    made: dict[int, Tensor] = {}
    for tensor in state.values():
        made.setdefault(tensor.data_ptr(), tensor.to(dtype) if tensor.is_floating_point() else tensor)
    return {name: made[tensor.data_ptr()] for name, tensor in state.items()}


def _narrow(tensors: dict[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Floats as `dtype`, ids below 32,768 as int16."""
    if dtype is None:
        return tensors
    narrow = {}
    for name, tensor in tensors.items():
        small = tensor.dtype == torch.int32 and int(tensor.max()) < 2**15
        narrow[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor.to(torch.int16) if small else tensor
    return narrow
