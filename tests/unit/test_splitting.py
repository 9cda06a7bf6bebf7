"""Long texts as passages: all of the text, in order, within the limit, cut where people would."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.borders import MAX_UNIT, Border, borders, units
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, TextError
from splade_ptbr_connectors.splitting import Passage, PassageSettings, Splitter, default_settings
from tests.support.encoders import HashingEncoder

MINI = SpladeEncoder.load("mini-bert", preload=False)
ENCODERS: dict[str, Encoder] = {"by tokens": MINI, "by words": HashingEncoder()}
words = st.sampled_from("o prazo recurso inconstitucionalidade art. R$ 1.234,56 Sr. nº x ção 漢字 😀 § a\u0301".split()) | st.text(
    min_size=1, max_size=9
)
gaps = st.sampled_from([" ", " ", " ", ". ", "? ", ".\n", "\n\n", ", ", "", "\t", "... "])
texts = st.lists(st.tuples(words, gaps), max_size=120).map(lambda pairs: "".join(word + gap for word, gap in pairs).replace("\0", ""))
limits = st.integers(8, 40)


def count(encoder: Encoder, text: str) -> int:
    return encoder.count_tokens([text])[0] if isinstance(encoder, SpladeEncoder) else len(text.split())


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=100)
@given(text=texts, tokens=limits, share=st.sampled_from([0, 3, 4]), title=st.none() | st.sampled_from(["Lei", "Código de Trânsito " * 20]))
def test_passages_are_the_text_in_order_and_within_the_limit(name: str, text: str, tokens: int, share: int, title: str | None) -> None:
    encoder, overlap = ENCODERS[name], tokens // share if share else 0
    passages = Splitter(encoder, passage_tokens=tokens, overlap=overlap).split(text, title)
    assert [passage.number for passage in passages] == list(range(len(passages)))
    assert all(passage.text == text[passage.start : passage.end] for passage in passages)
    assert len(passages) == 1 or all(passage.text.strip() for passage in passages)
    covered = set[int]().union(*(range(passage.start, passage.end) for passage in passages))
    assert not "".join(character for n, character in enumerate(text) if n not in covered).strip()
    room = max(tokens - count(encoder, f"{title} "), tokens // 2) if title else tokens
    assert all(count(encoder, passage.text) <= room for passage in passages if len(passage.text) > 1)
    for before, after in pairwise(passages):
        assert before.start < after.start <= after.end
        assert before.end < after.end
        assert count(encoder, text[after.start : before.end]) <= overlap


@settings(max_examples=50)
@given(text=texts)
def test_only_whole_sentences_are_repeated(text: str) -> None:
    spans = units(text)
    begins = {0} | {start for (start, _), border in zip(spans[1:], borders(text, spans), strict=False) if border >= Border.SENTENCE}
    for before, after in pairwise(Splitter(ENCODERS["by words"], passage_tokens=20, overlap=10).split(text)):
        assert after.start >= before.end or after.start in begins


@given(text=texts)
def test_what_fits_is_one_passage_with_all_its_white_space(text: str) -> None:
    assert Splitter(MINI, passage_tokens=2000).split(text, "Título") == [Passage(0, 0, len(text), text)]


@settings(max_examples=50)
@given(text=texts, tokens=limits)
def test_a_passage_is_not_split_again(text: str, tokens: int) -> None:
    splitter = Splitter(MINI, passage_tokens=tokens, overlap=0)
    for passage in splitter.split(text):
        assert len(splitter.split(passage.text)) == 1


def test_the_network_plays_no_part() -> None:
    text = "O prazo para recorrer é de trinta dias. " * 60
    assert Splitter(SpladeEncoder.load("mini-bert")).split(text) == Splitter(MINI).split(text)


def test_paragraphs_and_sentences_stay_whole() -> None:
    sentence = "O contribuinte deve declarar os rendimentos recebidos."
    paragraph = " ".join([sentence] * 6)
    text = "\n\n".join([paragraph] * 3)
    assert [passage.text for passage in Splitter(HashingEncoder(), passage_tokens=60, overlap=0).split(text)] == [paragraph] * 3
    half = Splitter(HashingEncoder(), passage_tokens=25, overlap=7).split(text)
    assert all(passage.text.startswith("O contribuinte") and passage.text.endswith("recebidos.") for passage in half)
    assert any(after.start < before.end for before, after in pairwise(half))


def test_the_limit_of_the_model_is_the_limit() -> None:
    encoder = SpladeEncoder.load("mini-bert", preload=False, max_length_document=64)
    text = "palavra muito longa e sem fim " * 200
    assert all(encoder.count_tokens([passage.text])[0] <= encoder.document_room for passage in Splitter(encoder).split(text))


@pytest.mark.parametrize("text", ["x" * 50_000, "漢字" * 20_000, "😀" * 20_000, "a\n" * 20_000, "palavra " * 10_000, " " * 50_000 + "fim."])
def test_texts_without_sentences_are_split_all_the_same(text: str) -> None:
    passages = Splitter(MINI, overlap=0).split(text)
    assert "".join("".join(passage.text for passage in passages).split()) == "".join(text.split())
    assert all(count(MINI, passage.text) <= 200 and len(passage.text) <= 200 * MAX_UNIT for passage in passages)


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_a_text_without_words_is_one_passage(text: str) -> None:
    assert Splitter(MINI).split(text) == [Passage(0, 0, len(text), text)]


def test_settings_are_a_mapping_that_makes_the_same_splitter() -> None:
    assert Splitter(MINI, **default_settings()).settings == Splitter(MINI).settings == PassageSettings(**default_settings())


def test_short_passages_overlap_less_by_default() -> None:
    assert [PassageSettings(passage_tokens=tokens).overlap for tokens in (8, 40, 128, 1000)] == [2, 10, 32, 32]
    assert PassageSettings(passage_tokens=40, overlap=0).overlap == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"passage_tokens": 3}, "passage_tokens is 3"),
        ({"passage_tokens": "200"}, "passage_tokens is '200'"),
        ({"overlap": -1}, "overlap is -1"),
        ({"passage_tokens": 20, "overlap": 11}, "at most half"),
        ({"passage_token": 20}, "did you mean 'passage_tokens'"),
    ],
)
def test_settings_that_are_not_accepted(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PassageSettings(**given)


def test_a_text_that_cannot_be_encoded() -> None:
    with pytest.raises(TextError):
        Splitter(MINI).split("a\ud800b")


sentences = st.lists(
    st.sampled_from(["imposto", "o", "inconstitucionalidade", "R$", "1.234,56", "§", "2º", "e\u0301", "👍🏽", "漢字"]), max_size=30
)


@settings(max_examples=100)
@given(written=st.lists(sentences.map(lambda words: " ".join(["Era", *words, "tudo."])), max_size=12), tokens=limits)
def test_a_sentence_that_fits_is_never_cut(written: list[str], tokens: int) -> None:
    text, place = " ".join(written), 0
    passages = Splitter(MINI, passage_tokens=tokens, overlap=tokens // 4).split(text)
    for sentence in written:
        start = text.index(sentence, place)
        place = start + len(sentence)
        if count(MINI, sentence) <= tokens:
            assert any(passage.start <= start and place <= passage.end for passage in passages), sentence


def test_the_overlap_is_the_last_sentences_that_fit_it() -> None:
    text = " ".join(f"Frase de número {n} aqui." for n in range(10, 40))
    passages = Splitter(HashingEncoder(), passage_tokens=24, overlap=12).split(text)
    assert len(passages) > 3
    repeated = [len(text[after.start : before.end].split()) for before, after in pairwise(passages)]
    assert repeated == [10] * len(repeated)


@pytest.mark.parametrize("text", ["x" * 50_000, "palavra " * 8_000, "漢字" * 20_000, "a\n" * 20_000])
def test_work_grows_with_the_text_only(text: str) -> None:
    """Tokens are counted of every character a few times, whatever the text looks like."""
    counter = Counting()
    Splitter(counter).split(text, "Título")
    assert counter.characters < 4 * len(text) + 1_000


class Counting(HashingEncoder):
    """Counts the characters that it counts tokens of."""

    document_room = 510
    characters = 0

    def count_tokens(self, texts: list[str]) -> list[int]:
        self.characters += sum(map(len, texts))
        return MINI.count_tokens(texts)


def test_tokens_that_join_across_words_still_fit() -> None:
    """A tokenizer may make more tokens of words together than of each alone."""

    class Joining(HashingEncoder):
        document_room = 100

        def count_tokens(self, texts: list[str]) -> list[int]:
            return [len(text.split()) + 2 * text.count(" ") for text in texts]

    passages = Splitter(Joining(), passage_tokens=20, overlap=4).split("palavra " * 200)
    assert max(Joining().count_tokens([passage.text for passage in passages])) <= 20
