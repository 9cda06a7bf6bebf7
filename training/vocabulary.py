"""The tokenizer of our own models: a WordPiece vocabulary behind the text rule (NFC, lower case)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.text import TextRule

SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
TEXT_RULE = TextRule(normalization="NFC", lowercase=True)
TokenIds = NDArray[np.int32]


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a WordPiece vocabulary file, one a line; the line number is the id."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no vocabulary at {file}: give the data directory with --data")
    tokens = file.read_text(encoding="utf-8").splitlines()
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing or len(set(tokens)) != len(tokens):
        raise ConfigError(f"{file} is not a WordPiece vocabulary: missing {missing or 'nothing, but it has duplicates'}")
    return tokens


def special_ids(vocabulary: Sequence[str]) -> list[int]:
    """Ids of [PAD], [CLS], [SEP], [MASK] and [UNK]."""
    return [vocabulary.index(token) for token in SPECIAL_TOKENS]


def build_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """WordPiece as BERT does it, cased (the text rule comes before it), with [CLS] ... [SEP] added."""
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Iterable[str], *, max_length: int) -> list[TokenIds]:
    """Token ids of each text, [CLS] and [SEP] included, at most `max_length`."""
    tokenizer.enable_truncation(max_length)
    batch = tokenizer.encode_batch_fast([TEXT_RULE.apply(text) for text in texts])
    return [np.asarray(encoding.ids, dtype=np.int32) for encoding in batch]
