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
    from tokenizers import Encoding, Tokenizer

OnLong = Literal["windows", "truncate", "error"]
OVERLAP = 0.25  # share of a window that the next one repeats, so that no passage is only seen cut in two
MAX_KNOWN_WORDS = 100_000
BETWEEN_WORDS = r"[^\p{L}\p{N}\p{M}]+"
"""What models of words are split at."""
_WORD_BY_WORD = ("BertPreTokenizer()", f'Split(pattern=Regex("{BETWEEN_WORDS}"), behavior=Removed, invert=False)')
"""What keeps the words between blanks apart whatever stands beside them, so that tokens can be counted word by word."""
_BLANK = "▁"  # in the pieces of unigram models; a text that has one itself is counted whole
_PIECES = f'Metaspace(replacement="{_BLANK}", prepend_scheme=always, split=True)'
_ONE_BLANK = r'Sequence(normalizers=[NFKC(), Replace(pattern=Regex("\s+"), content=" "), Strip(strip_left=True, strip_right=True)])'
"""With this normalizer pieces keep words apart as well."""
_PADDING_TOKENS = ("[PAD]", "<pad>", "<|padding|>")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as windows of token ids (special ones included; none for a text without a token), and how many tokens were left out."""

    windows: list[list[int]]
    tokens_cut: int


class TextTokenizer:
    """Tokenises texts into windows of at most `max_length` tokens, special tokens included.

    The windows are cut here, because what the library returns of a text that it cuts differs between its versions.

    Args:
        tokenizer: is changed: padding and truncation are switched off.
        on_long: what to do with longer texts: overlapping windows, cut, or raise TextError.
        prompt: is put in front of every text that is not blank, and repeated in each of its windows.

    Attributes:
        room: tokens of a text that fit into one window, beside special ones and the prompt.
        bare: ids of these.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, on_long: OnLong, prompt: str = "") -> None:
        if on_long not in get_args(OnLong):
            raise ConfigError(f"on_long is {on_long!r}: use one of {', '.join(get_args(OnLong))}.")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._specials = tokenizer.num_special_tokens_to_add(False)
        # without the blank that often ends a prompt: it is a token of its own, or joins the next one
        with tokenizer_errors("the model's tokenizer cannot take its prompt"):
            self._prompt_tokens = len(tokenizer.encode(prompt.rstrip(), add_special_tokens=False).ids) if prompt else 0
            self.bare: list[int] = tokenizer.encode(prompt.rstrip()).ids
            self._of_nothing = [tokenizer.encode("").ids, tokenizer.encode(prompt).ids, self.bare]
        self.room = max_length - self._specials - self._prompt_tokens
        if self.room < 1:
            beside = "the special tokens and the prompt" if prompt else "the special tokens"
            raise ConfigError(f"a maximum length of {max_length} tokens leaves no room for text beside {beside}.")
        self._overlap = min(int(self.room * OVERLAP), self.room - 1)
        self._word_by_word = _keeps_words_apart(tokenizer)
        self._known: dict[str, int] = {}  # tokens of words met: texts are counted again and again, and have few words
        self.max_length = max_length
        self.on_long = on_long
        self._prompt = prompt

    def tokenize(self, texts: list[str]) -> list[TokenizedText]:
        """Tokenise a list of texts, on all cores.

        Raises:
            TextError: a long text when on_long is "error".
            ModelFormatError: the tokenizer fails, such as by a regular expression that backtracks without end.
        """
        whole = [self._prompt + text if text.strip() else "" for text in texts] if self._prompt else texts
        with tokenizer_errors("the model's tokenizer cannot take these texts"):
            encodings = self._tokenizer.encode_batch_fast(whole)
        return [self._windows(encoding) for encoding in encodings]

    def count(self, texts: list[str]) -> list[int]:
        """How many tokens each text has without special ones and the prompt; `room` of them are one window."""
        if not self._word_by_word or any(_BLANK in text for text in texts):
            return self._counted(texts)
        if len(self._known) > MAX_KNOWN_WORDS:
            self._known = {}
        known, found = self._known, list(map(_words, texts))  # another thread may begin a new one
        try:
            return [sum(map(known.__getitem__, words)) for words in found]
        except KeyError:
            new = list({word for words in found for word in words if word not in known})
        known.update(zip(new, self._counted(new), strict=True))
        return [sum(map(known.__getitem__, words)) for words in found]

    def _counted(self, texts: list[str]) -> list[int]:
        with tokenizer_errors("the model's tokenizer cannot take these texts"):
            return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        """(token id, start, end) of every token of a text, in characters, without special ones and the prompt."""
        with tokenizer_errors("the model's tokenizer cannot take this text"):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(token, start, end) for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)]

    def _windows(self, encoding: Encoding) -> TokenizedText:
        ids = encoding.ids
        if ids in self._of_nothing:  # blank, or control characters that the normalizer took out
            return TokenizedText([], 0)
        if len(ids) <= self.max_length:
            return TokenizedText([ids], 0)
        if self.on_long == "error":
            raise TextError(
                f"text has {len(ids) - self.max_length + self.room:,} tokens, the model takes {self.room}: "
                'use on_long="windows" or "truncate", or split the text.'
            )
        before = encoding.special_tokens_mask.index(0)  # special tokens in front
        head, tail = before + self._prompt_tokens, len(ids) - (self._specials - before)
        step = self.room - self._overlap
        starts = range(head, tail - self._overlap, step) if self.on_long == "windows" else [head]
        windows = [ids[:head] + ids[start : min(start + self.room, tail)] + ids[tail:] for start in starts]
        return TokenizedText(windows, 0 if self.on_long == "windows" else len(ids) - self.max_length)


def _keeps_words_apart(tokenizer: Tokenizer) -> bool:
    pre_tokenizer = repr(tokenizer.pre_tokenizer)
    return pre_tokenizer in _WORD_BY_WORD or (pre_tokenizer == _PIECES and repr(tokenizer.normalizer) == _ONE_BLANK)


def _words(text: str) -> list[str]:
    """What stands between blanks: a pattern that finds it takes several times as long, for every document loaded."""
    return list(filter(None, text.replace("\t", " ").replace("\r", " ").replace("\n", " ").split(" ")))


def load_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The folder's tokenizer, from tokenizer.json or a WordPiece vocab.txt.

    Raises:
        ModelFormatError: neither file, a broken one, or one with a token that the weights have no row for. Spare rows are
            common: vocabularies are rounded up, or were made for tokens that never came (DeBERTa).
    """
    tokenizer = _read_tokenizer(folder)
    needed = max(tokenizer.get_vocab().values(), default=-1) + 1
    if needed > vocab_size:
        raise ModelFormatError(
            f"the tokenizer in {folder} has token ids up to {needed - 1:,}, the model's vocabulary {vocab_size:,} terms: "
            "they do not belong together."
        )
    return tokenizer


@contextmanager
def tokenizer_errors(what: str) -> Iterator[None]:
    """Whatever the tokenizers library raises, its panics included, which are not Exceptions, as a ModelFormatError."""
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
        with tokenizer_errors(f"{folder / 'tokenizer.json'} cannot be read"):
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
    with tokenizer_errors(f"{folder / 'vocab.txt'} cannot be read"):
        wordpiece = BertWordPieceTokenizer(
            vocab=str(folder / "vocab.txt"),
            lowercase=bool(settings.get("do_lower_case", False)),
            strip_accents=settings.get("strip_accents"),
            handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        )
    return Tokenizer.from_str(wordpiece.to_str())
