"""Texts to token ids: one tokenizer per model, with windows over texts that are longer than the model's limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import ConfigError, ModelFormatError, TextError
from .config import read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OnLong = Literal["windows", "truncate", "error"]
OVERLAP = 0.25  # share of a window that the next one repeats, so that no passage is only seen cut in two
_PADDING_TOKENS = ("[PAD]", "<pad>", "<|padding|>")
_PADDED_TO = (8, 64, 128)  # some checkpoints round the vocabulary of the weights up


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as windows of token ids (special tokens included; none for a blank text), and how many tokens were left out."""

    windows: list[list[int]]
    tokens_cut: int


class TextTokenizer:
    """Tokenises texts into windows of at most `max_length` tokens, special tokens included.

    Args:
        tokenizer: is changed (truncation settings) and must not be shared.
        on_long: what to do with longer texts: overlapping windows, cut, or raise TextError.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, on_long: OnLong) -> None:
        if on_long not in get_args(OnLong):
            raise ConfigError(f"on_long is {on_long!r}: use one of {', '.join(get_args(OnLong))}.")
        self._specials = tokenizer.num_special_tokens_to_add(False)
        room = max_length - self._specials
        if room < 1:
            raise ConfigError(f"a maximum length of {max_length} tokens leaves no room for text beside the special tokens.")
        self.max_length = max_length
        self.on_long = on_long
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length, stride=min(int(room * OVERLAP), room - 1) if on_long == "windows" else 0)

    def tokenize(self, texts: list[str]) -> list[TokenizedText]:
        """Tokenise a list of texts, on all cores.

        Raises:
            TextError: a long text when on_long is "error".
            ModelFormatError: the tokenizer fails, such as by a regular expression that backtracks without end.
        """
        with understood("the model's tokenizer cannot take these texts"):
            encodings = self._tokenizer.encode_batch(texts)
        return [self._windows(encoding) for encoding in encodings]

    def _windows(self, encoding: object) -> TokenizedText:
        first, rest = encoding.ids, encoding.overflowing  # type: ignore[attr-defined]
        if len(first) <= self._specials:
            return TokenizedText([], 0)
        if not rest:
            return TokenizedText([first], 0)
        if self.on_long == "windows":
            return TokenizedText([first, *(window.ids for window in rest)], 0)
        cut = sum(len(window.ids) - self._specials for window in rest)
        if self.on_long == "error":
            raise TextError(
                f"text has {len(first) - self._specials + cut:,} tokens, the model takes {self.max_length - self._specials}: "
                'use on_long="windows" or "truncate", or split the text.'
            )
        return TokenizedText([first], cut)


def load_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The folder's tokenizer, from tokenizer.json or a WordPiece vocab.txt.

    Raises:
        ModelFormatError: neither file, a broken one, or a vocabulary that does not fit the weights.
    """
    tokenizer = _read_tokenizer(folder)
    size = tokenizer.get_vocab_size()
    if vocab_size != size and vocab_size not in [-(-size // step) * step for step in _PADDED_TO]:
        raise ModelFormatError(
            f"the tokenizer in {folder} has {size:,} tokens, the model's vocabulary {vocab_size:,} terms: they do not belong together."
        )
    return tokenizer


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Whatever the tokenizers library raises, its panics included, which are no Exception, as a ModelFormatError."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ModelFormatError(f"{what} ({reason:.200}): download or export the model again, or use another one.") from error
        raise


def special_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of the special tokens ([CLS], [SEP], [PAD], [UNK], [MASK] and the like)."""
    return sorted(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def padding_token(tokenizer: Tokenizer) -> str | None:
    """The token that batches are padded with: the one that the tokenizer declares, else the one of the known names that it has."""
    names = [tokenizer.padding["pad_token"]] if tokenizer.padding else _PADDING_TOKENS
    return next((name for name in names if tokenizer.token_to_id(name) is not None), None)


def padding_id(tokenizer: Tokenizer) -> int:
    """Id of the padding token, which may be 0; 0 when the tokenizer has none: the mask takes padding out in any case."""
    token = padding_token(tokenizer)
    found = None if token is None else tokenizer.token_to_id(token)
    return 0 if found is None else int(found)


def _read_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        with understood(f"{folder / 'tokenizer.json'} cannot be read"):
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "vocab.txt").is_file():
        return _wordpiece_tokenizer(folder)
    raise ModelFormatError(
        f"{folder} has no tokenizer (tokenizer.json or vocab.txt): save the tokenizer there (transformers makes tokenizer.json of a "
        "spiece.model: AutoTokenizer.from_pretrained, then save_pretrained), or name the model it belongs to "
        'with tokenizer=..., e.g. tokenizer="neuralmind/bert-base-portuguese-cased".'
    )


def _wordpiece_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    settings = read_json_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    with understood(f"{folder / 'vocab.txt'} cannot be read"):
        wordpiece = BertWordPieceTokenizer(
            vocab=str(folder / "vocab.txt"),
            lowercase=bool(settings.get("do_lower_case", False)),
            strip_accents=settings.get("strip_accents"),
            handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        )
    return Tokenizer.from_str(wordpiece.to_str())
