"""Embeddings of texts by a sentence encoder: the mean of its last hidden states, as a unit vector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.measure.progress import bar

Embeddings = NDArray[np.float16]
TokenIds = list[list[int]]
SHARD = 512
_BATCH_TOKENS = 8_192


class SentenceEncoder(nn.Module):
    """[B, L] tokens to [B, H] means of the backbone's features over the text."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    @classmethod
    def read(cls, folder: Path) -> SentenceEncoder:
        """Of a transformers folder; without dropout."""
        from transformers import AutoModel

        # written out, attention is several times as fast backwards on a CPU as torch's fused kernel
        backbone = AutoModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
        for module in backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return cls(backbone)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The means, in float32."""
        features = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask[..., None].float()
        return (features * mask).sum(dim=1) / mask.sum(dim=1)

    def embed(self, rows: TokenIds) -> Tensor:
        """[B, H] unit vectors."""
        length = max(map(len, rows))
        ids, mask = torch.zeros((len(rows), length), dtype=torch.long), torch.zeros((len(rows), length), dtype=torch.long)
        for n, row in enumerate(rows):
            ids[n, : len(row)], mask[n, : len(row)] = torch.tensor(row), 1
        with torch.autocast("cpu", torch.bfloat16):
            return functional.normalize(self(ids, mask), dim=1)


def tokenized(tokenizer: Tokenizer, texts: Sequence[str], prompt: str, limit: int) -> TokenIds:
    """Token ids of each text behind the prompt, at most `limit`, the last one kept."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast([prompt + text for text in texts])]
    return [row if len(row) <= limit else [*row[: limit - 1], row[-1]] for row in rows]


def embed_all(rows: TokenIds, encoder: Callable[[], SentenceEncoder], folder: Path, *, what: str) -> Embeddings:
    """[N, H] of all texts, computed in shards that are kept: what was done before is not done again.

    Args:
        encoder: is loaded only if a shard is missing.
        folder: of the shards, in a subfolder named by what they are of.
    """
    digest = hashlib.sha256(np.concatenate([np.array([*row, -1], np.int32) for row in rows]).tobytes()).hexdigest()
    kept = folder / f"{what}-{digest[:16]}"
    kept.mkdir(parents=True, exist_ok=True)
    order = np.argsort([len(row) for row in rows], kind="stable")
    loaded: SentenceEncoder | None = None
    shards = []
    for start in bar(range(0, len(rows), SHARD), f"embedding {what}", True, total=-(-len(rows) // SHARD)):
        path = kept / f"{start:08}.npy"
        if not path.exists():
            loaded = loaded or encoder().eval()
            partial = path.with_suffix(".partial.npy")
            np.save(partial, _embedded([rows[n] for n in order[start : start + SHARD]], loaded))
            partial.rename(path)
        shards.append(np.load(path))
    joined = np.concatenate(shards)
    found = np.empty_like(joined)
    found[order] = joined
    return found


def mean_of(rows: Embeddings) -> NDArray[np.float32]:
    """[H] of [N, H], in float32."""
    return np.asarray(rows.astype(np.float32).mean(axis=0))


@torch.inference_mode()
def _embedded(rows: TokenIds, encoder: SentenceEncoder) -> Embeddings:
    size = max(1, _BATCH_TOKENS // max(map(len, rows)))
    parts = [encoder.embed(rows[start : start + size]) for start in range(0, len(rows), size)]
    return torch.cat(parts).numpy().astype(np.float16)
