"""T5 encoders as masked language models: the encoder's states against the embeddings that it reads (T5, mT5, UMT5; PTT5-v2).

    z_ij = d_model^-0.5 h_i . E_j + b_j        E [V, H]: the input embeddings (tied); b [V]: learnable

The scale is the one with which T5 reads its tied embeddings out (Raffel et al., arXiv 1910.10683). It is part of the
features, so that the head is a plain linear map. A checkpoint's decoder and its own output projection are not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import (
    MT5EncoderModel,
    MT5PreTrainedModel,
    PreTrainedModel,
    T5EncoderModel,
    T5PreTrainedModel,
    UMT5EncoderModel,
    UMT5PreTrainedModel,
)
from transformers.modeling_outputs import MaskedLMOutput

BIAS = "token_head.bias"
_TIED = {"encoder.embed_tokens.weight": "shared.weight", "token_head.weight": "shared.weight"}


class _EncoderWithHead:
    """What the three families share. Saved, it is the family's encoder checkpoint with one tensor more, `token_head.bias`."""

    encoder_class: ClassVar[type[PreTrainedModel]]
    # transformers 5 maps a tied weight to its source, transformers 4 lists them
    _tied_weights_keys: Any = _TIED if isinstance(getattr(T5EncoderModel, "_tied_weights_keys", None), dict) else list(_TIED)
    _keys_to_ignore_on_load_unexpected: ClassVar[Any] = [r"^decoder\.", r"^lm_head\."]

    def __init__(self, config: Any) -> None:
        config.tie_word_embeddings = True  # T5 v1.1 says False of its decoder's projection, which is not used here
        super().__init__(config)  # type: ignore[call-arg]
        family: Any = self.encoder_class(config)
        self.shared: nn.Embedding = family.shared
        self.encoder: Any = family.encoder
        self.token_head = nn.Linear(config.d_model, config.vocab_size)
        nn.init.zeros_(self.token_head.bias)
        self.scale = float(config.d_model) ** -0.5
        self.post_init()  # type: ignore[attr-defined]

    def get_input_embeddings(self) -> nn.Embedding:
        return self.shared

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.shared = value
        self.encoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Linear:
        return self.token_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.token_head = new_embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> MaskedLMOutput:
        """Logits [B, L, V] of [B, L] token ids."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return MaskedLMOutput(logits=self.token_head(states * self.scale))

    @contextlib.contextmanager
    def exportable(self) -> Iterator[None]:
        """Within it, attention is written out: the fused one with a position bias has no export to ONNX."""
        config = self.encoder.config
        before, config._attn_implementation = config._attn_implementation, "eager"
        try:
            yield
        finally:
            config._attn_implementation = before


class T5ForMaskedLM(_EncoderWithHead, T5PreTrainedModel):  # type: ignore[misc,no-untyped-call]
    """The encoder of a T5 checkpoint with a head over its vocabulary."""

    encoder_class = T5EncoderModel


class MT5ForMaskedLM(_EncoderWithHead, MT5PreTrainedModel):  # type: ignore[misc,no-untyped-call]
    """The encoder of an mT5 checkpoint with a head over its vocabulary."""

    encoder_class = MT5EncoderModel


class UMT5ForMaskedLM(_EncoderWithHead, UMT5PreTrainedModel):  # type: ignore[misc,no-untyped-call]
    """The encoder of a UMT5 checkpoint with a head over its vocabulary."""

    encoder_class = UMT5EncoderModel


CLASSES: dict[str, type[Any]] = {"t5": T5ForMaskedLM, "mt5": MT5ForMaskedLM, "umt5": UMT5ForMaskedLM}
