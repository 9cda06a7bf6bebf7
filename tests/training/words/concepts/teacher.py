"""A sentence encoder with random weights, to learn from."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from tests.unit.encoding.tiny import sentencepiece_tokenizer


def make_teacher(folder: Path) -> Path:
    """A BERT of four layers over pieces, in transformers' layout; gives the folder back."""
    torch.manual_seed(0)
    tokenizer = sentencepiece_tokenizer(["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>")
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), pad_token_id=1, **sizes)).eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
