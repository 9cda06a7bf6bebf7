"""Texts to windows of token ids: nothing lost, nothing too long, and no need of the library's own cutting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from splade_ptbr_connectors.encoding import tokens
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.tokens import OVERLAP, TextTokenizer, load_tokenizer
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError, TextError
from tests.conftest import WORDS

from .tiny import sentencepiece_tokenizer

TOKENIZERS = {
    "around the text": sentencepiece_tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>"),
    "behind the text": sentencepiece_tokenizer(["<pad>", "</s>", "<unk>"], "$A </s>"),
    "two before, none behind": sentencepiece_tokenizer(["<s>", "<pad>", "<unk>", "<x>"], "<s> <x> $A"),
    "none": sentencepiece_tokenizer(["<pad>", "<unk>"], "$A"),
}
SPECIALS = {"around the text": (1, 1), "behind the text": (0, 1), "two before, none behind": (2, 0), "none": (0, 0)}
texts = st.lists(st.sampled_from([*WORDS, "<unk>", "<s>", "</s>", "xyz", "??"]), min_size=1, max_size=80).map(" ".join)


def cut(name: str, text: str, max_length: int, on_long: str, prompt: str = "") -> tuple[list[list[int]], int]:
    (result,) = TextTokenizer(TOKENIZERS[name], max_length, on_long, prompt).tokenize([text])  # type: ignore[arg-type]
    return result.windows, result.tokens_cut


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40)
@given(text=texts, max_length=st.integers(6, 40), prompt=st.sampled_from(["", "banco "]))
def test_windows_hold_every_token_once_but_for_the_overlap(name: str, text: str, max_length: int, prompt: str) -> None:
    front, behind = SPECIALS[name]
    whole = TOKENIZERS[name].encode(prompt + text).ids
    head, tail = whole[: front + bool(prompt)], whole[len(whole) - behind :]
    room = max_length - len(head) - len(tail)
    windows, lost = cut(name, text, max_length, "windows", prompt)
    assert lost == 0
    assert all(len(window) <= max_length for window in windows)
    assert all(window[: len(head)] == head and window[len(window) - len(tail) :] == tail for window in windows)
    bodies = [window[len(head) : len(window) - len(tail)] for window in windows]
    assert all(len(body) == room for body in bodies[:-1])
    overlap = min(int(room * OVERLAP), room - 1)
    assert bodies[0] + [token for body in bodies[1:] for token in body[overlap:]] == whole[len(head) : len(whole) - len(tail)]
    assert all(len(body) > overlap for body in bodies[1:])  # each one says something new


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40)
@given(text=texts, max_length=st.integers(6, 40))
def test_what_is_cut_is_counted(name: str, text: str, max_length: int) -> None:
    whole, (front, behind) = TOKENIZERS[name].encode(text).ids, SPECIALS[name]
    (window,), lost = cut(name, text, max_length, "truncate")
    assert len(window) + lost == len(whole)
    assert len(window) == min(max_length, len(whole))
    assert window == whole[: len(window) - behind] + whole[len(whole) - behind :]
    if lost:
        with pytest.raises(
            TextError, match=f"text has {len(whole) - front - behind} tokens, the model takes {max_length - front - behind}"
        ):
            cut(name, text, max_length, "error")
    else:
        assert cut(name, text, max_length, "error") == ([whole], 0)


def test_the_library_is_never_asked_to_cut() -> None:
    """Its windows of a long text are not the same in every version: some give two at most."""
    tokenizer = Tokenizer.from_str(TOKENIZERS["around the text"].to_str())
    tokenizer.enable_truncation(9, stride=2)
    tokenizer.enable_padding()
    TextTokenizer(tokenizer, 16, "windows")
    assert (tokenizer.truncation, tokenizer.padding) == (None, None)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("prompt", "blank"), [("", ""), ("banco ", ""), ("banco ", " "), ("banco ", "\n\t ")])
def test_a_blank_text_has_no_window(name: str, prompt: str, blank: str) -> None:
    assert cut(name, blank, 16, "windows", prompt) == ([], 0)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_text_of_which_no_token_is_left_has_no_window(name: str) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZERS[name].to_str())
    kept = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("\u200b", ""), *kept])
    for prompt in ("", "banco "):
        cutter = TextTokenizer(tokenizer, 16, "windows", prompt)
        assert [text.windows for text in cutter.tokenize(["\u200b", "\u200b\u200b"])] == [[], []]
        assert cutter.tokenize(["\u200bcasa"]) == cutter.tokenize(["casa"]) != cutter.tokenize(["\u200b"])


def test_a_prompt_needs_room() -> None:
    with pytest.raises(ConfigError, match="special tokens and the prompt"):
        TextTokenizer(TOKENIZERS["around the text"], 4, "windows", "a b c d")


class TestVocabulary:
    @pytest.mark.parametrize("spare", [0, 1, 99, 1000])
    def test_rows_without_a_token_are_spare(self, tiny_model: Path, spare: int) -> None:
        size = load_tokenizer(tiny_model, 1000).get_vocab_size()
        assert load_tokenizer(tiny_model, size + spare).get_vocab_size() == size

    def test_a_token_without_a_row_is_an_error(self, tiny_model: Path) -> None:
        size = load_tokenizer(tiny_model, 1000).get_vocab_size()
        with pytest.raises(ModelFormatError, match=f"ids up to {size - 1}, the model's vocabulary {size - 1} terms"):
            load_tokenizer(tiny_model, size - 1)

    def test_ids_count_not_tokens(self, tmp_path: Path) -> None:
        """A vocabulary with a gap: five tokens, the last of them with id 9."""
        tokenizer = sentencepiece_tokenizer(["<pad>", "<unk>"], "$A").to_str()
        words = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "<unk>": 9}, "unk_token": "<unk>"}
        (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer) | {"model": words, "added_tokens": []}))
        load_tokenizer(tmp_path, 10)
        with pytest.raises(ModelFormatError, match="ids up to 9"):
            load_tokenizer(tmp_path, 9)


WORDPIECE = load_tokenizer(find_model("mini-bert").path, 29_794)
WORDS = load_tokenizer(find_model("mini-lexico").path, find_model("mini-lexico").config.vocab_size)
PIECES = load_tokenizer(find_model("mini").path / "concepts", 20_000)
any_text = st.lists(
    st.text(max_size=8)
    | st.sampled_from(["[CLS]", "[UNK]x", "guarda-chuva", "x" * 101, "\xa0", "\x1c", "\u200b", " ", "▁", "▁x", "\u0301", "´x", "<s>", "ﷺ"])
).map(" ".join)


@pytest.fixture(scope="module", params=[WORDPIECE, WORDS, PIECES, *TOKENIZERS.values()], ids=["wordpiece", "words", "pieces", *TOKENIZERS])
def twins(request: pytest.FixtureRequest) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer and a copy for a counter, which changes it; a copy of a large one takes a tenth of a second."""
    return request.param, Tokenizer.from_str(request.param.to_str())


@settings(max_examples=100)
@given(written=st.lists(any_text | texts, max_size=4))
def test_tokens_are_counted_as_they_are_made(twins: tuple[Tokenizer, Tokenizer], written: list[str]) -> None:
    """Counted word by word or not, met before or not."""
    tokenizer, copied = twins
    counter = TextTokenizer(copied, 40, "windows")
    expected = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in written]
    assert counter.count(written) == counter.count(written) == expected
    assert [len(counter.pieces(text)) for text in written] == expected


@given(st.text() | st.text(" \t\r\n\v\f\x1c\xa0\u2028aã"))
def test_words_are_what_stands_between_blanks(text: str) -> None:
    assert tokens._words(text) == re.findall(r"[^ \t\r\n]+", text)


@pytest.mark.parametrize("tokenizer", [WORDPIECE, WORDS, PIECES], ids=["wordpiece", "words", "pieces"])
def test_the_shipped_tokenizers_are_counted_word_by_word(tokenizer: Tokenizer) -> None:
    counter = TextTokenizer(Tokenizer.from_str(tokenizer.to_str()), 40, "windows")
    counter.count(["prazo de recurso", "o recurso"])
    assert set(counter._known) == {"prazo", "de", "recurso", "o"}


def test_words_met_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_KNOWN_WORDS", 3)
    counter = TextTokenizer(Tokenizer.from_str(WORDPIECE.to_str()), 40, "windows")
    for n in range(50):
        assert counter.count([f"palavra{n} prazo"]) == [len(WORDPIECE.encode(f"palavra{n} prazo", add_special_tokens=False).ids)]
    assert len(counter._known) <= 5
