"""The tokenizer of models that are made here: a WordPiece vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from splade_ptbr_connectors.errors import InputFileError

SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a WordPiece vocabulary file, one a line; the line number is the id."""
    file = Path(path)
    if not file.is_file():
        raise InputFileError(f"no vocabulary at {file}: give the data directory with --data")
    tokens = file.read_text(encoding="utf-8").splitlines()
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing or len(set(tokens)) != len(tokens):
        raise InputFileError(f"{file} is not a WordPiece vocabulary: missing {missing or 'nothing, but it has duplicates'}")
    return tokens


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
