"""Explanations in words: they add up to the score, every term has one home, and a word is where it says it is."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.encoding.explain_words import SHOWN_WORDS, WordExplanation, WordMatch, explain_words, marked
from tests.support.encoders import HashingEncoder

MINI = SpladeEncoder.load("mini-bert")
SOME = "O prazo para recorrer da multa na Caatinga é de 30 dias: recém-nascido, inconstitucionalidade, ações e coração.".split()
words = st.sampled_from(SOME) | st.text(min_size=1, max_size=6)
texts = st.lists(words, max_size=25).map(" ".join).filter(lambda text: "\0" not in text and _encodable(text))
titles = st.sampled_from(["", "Multas", "Recém-nascido: prazo"])
forms = st.sampled_from(["NFC", "NFD"])


def _encodable(text: str) -> bool:
    try:
        return bool(text.encode()) or not text
    except UnicodeEncodeError:
        return False


@settings(max_examples=100)
@given(query=texts, text=texts, title=titles, form=forms, start=st.integers(0, 10**6))
def test_words_cover_the_terms_and_add_up_to_the_score(query: str, text: str, title: str, form: str, start: int) -> None:
    text = unicodedata.normalize(form, text)
    found = MINI.explain_words(query, text, title, start=start)
    content = f"{title} {text}" if title else text
    score = MINI.encode_query(query).dot(MINI.encode_document(content))
    assert found.score == pytest.approx(score, rel=1e-6)
    assert sum(match.contribution for match in found.words) == pytest.approx(score, rel=1e-6)
    terms = [part.term_id for match in found.words for part in match.terms]
    shared = set(MINI.encode_query(query).term_ids.tolist()) & set(MINI.encode_document(content).term_ids.tolist())
    assert len(terms) == len(set(terms)) and set(terms) == shared
    assert [match.contribution for match in found.words] == sorted((match.contribution for match in found.words), reverse=True)
    held = {term for term, _, _ in MINI.pieces(content)}
    for match in found.words:
        assert match.contribution == pytest.approx(sum(part.contribution for part in match.terms))
        assert match.source == ("text" if match.places else "title" if match.title_places else "expansion")
        assert all(text[place.start - start : place.end - start].casefold() == match.word.casefold() for place in match.places)
        assert all(title[place.start : place.end].casefold() == match.word.casefold() for place in match.title_places)
        assert all((part.term_id in held) == (match.source != "expansion") for part in match.terms)


@settings(max_examples=50)
@given(text=texts, form=forms)
def test_pieces_are_where_they_say(text: str, form: str) -> None:
    text = unicodedata.normalize(form, text)
    vector = MINI.encode_document(text)
    pieces = MINI.pieces(text)
    assert all(0 <= start < end <= len(text) for _, start, end in pieces)
    assert len(pieces) == MINI.count_tokens([text])[0]
    for term, start, end in pieces:
        if term in vector.term_ids and text.isalpha():
            assert MINI.token(term).removeprefix("##") == unicodedata.normalize("NFC", text[start:end]).lower()


def test_pieces_are_one_word_with_all_its_places() -> None:
    text = "A Caatinga seca. Na caatinga chove."
    found = MINI.explain_words("caatinga", text, start=100)
    [word] = found.words
    assert len(word.terms) > 1 and {part.token for part in word.terms} >= {"##atinga"}
    assert (word.word, word.query_word, word.source) == ("Caatinga", "caatinga", "text")
    assert word.places == ((102, 110), (120, 128))
    assert marked(text, found.places, start=100) == "A **Caatinga** seca. Na **caatinga** chove."
    assert marked(text, found.places, start=100, style="ansi") == ("A \x1b[1;32mCaatinga\x1b[0m seca. Na \x1b[1;32mcaatinga\x1b[0m chove.")


def test_terms_of_the_title_say_so() -> None:
    found = MINI.explain_words("multa", "O prazo é de 30 dias.", "Multa de trânsito")
    assert [(match.word, match.source, match.places, match.title_places) for match in found.words] == [("Multa", "title", (), ((0, 5),))]
    assert str(found) == f"{found.score:.2f} = Multa (title) +{found.score:.2f}"
    both = MINI.explain_words("multa", "Uma multa.", "Multa")
    assert [(match.word, match.source) for match in both.words] == [("multa", "text")]


def test_an_expansion_names_the_word_of_the_query() -> None:
    [term] = {term for term, _, _ in MINI.pieces("recurso")}
    document = SparseVector([term], [2.0])
    found = explain_words(MINI.encode_query("Recurso"), document, MINI, query="Recurso", text="O prazo é de 30 dias.")
    [word] = found.words
    assert (word.word, word.source, word.query_word, word.places) == ("Recurso", "expansion", "Recurso", ())
    assert str(found).startswith(f"{found.score:.2f} = Recurso (not in the text) +")
    [unasked] = explain_words(SparseVector([term], [1.0]), document, MINI, text="O prazo.").words
    assert (unasked.word, unasked.query_word) == ("recurso", None)


def test_an_encoder_that_does_not_show_its_pieces_is_explained_by_terms() -> None:
    encoder = HashingEncoder()
    query, document = encoder.encode_query("prazo da multa"), next(encoder.encode_documents(["o prazo da lei"]))
    found = explain_words(query, document, encoder, query="prazo da multa", text="o prazo da lei")
    assert found.score == query.dot(document)
    assert {match.source for match in found.words} == {"term"}
    assert sorted(match.word for match in found.words) == sorted(match.terms[0].token for match in found.words)


def test_nothing_shared_is_nothing_to_explain() -> None:
    assert MINI.explain_words("", "texto") == WordExplanation(0.0, ())
    assert str(WordExplanation(0.0, ())) == "0.00 = no word in common"


@given(contributions=st.lists(st.floats(0.01, 20), max_size=40))
def test_a_line_names_the_largest_words_and_adds_up_to_the_score(contributions: list[float]) -> None:
    matches = tuple(WordMatch(f"w{n}", value, "text", (), (), None, ()) for n, value in enumerate(sorted(contributions, reverse=True)))
    line = str(WordExplanation(sum(contributions), matches))
    score, *shown = [float(number) for number in re.findall(r"\d+\.\d\d", line)]
    assert sum(shown) == pytest.approx(score, abs=0.005 * (len(shown) + 1) + 1e-6)
    assert re.findall(r"w\d+", line) == [match.word for match in matches[:SHOWN_WORDS]]
    assert ("more" in line) == (len(matches) > SHOWN_WORDS)
    assert len(shown) <= SHOWN_WORDS + 1


def test_a_line_begins_with_what_stands_in_the_text() -> None:
    added, there = WordMatch("≈a·b", 3.0, "expansion", (), (), None, ()), WordMatch("c", 1.0, "text", (), (), None, ())
    assert str(WordExplanation(4.0, (added, there))) == "4.00 = c +1.00, ≈a·b (not in the text) +3.00"


@given(text=st.text(max_size=60), spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=5), start=st.integers(0, 99))
def test_marks_change_nothing_but_control_characters(text: str, spans: list[tuple[int, int]], start: int) -> None:
    places = [(start + begin, start + begin + size) for begin, size in spans]
    shown = marked(text.replace("*", "x"), places, start=start)
    unmarked = shown.replace("**", "")
    assert len(unmarked) == len(text)
    assert all(one == other for one, other in zip(unmarked, text.replace("*", "x"), strict=True) if one != " ")
    assert "\x1b" not in shown and "\x9b" not in shown


@pytest.mark.parametrize("turning", [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"])
def test_a_text_does_not_turn_the_direction_of_what_is_shown_behind_it(turning: str) -> None:
    assert marked(f"prazo {turning}odal", [(0, 5)]) == "**prazo**  odal"


def test_an_inflection_of_a_model_of_words_is_in_the_text() -> None:
    encoder = SpladeEncoder.load("mini-lexico")
    text = "Estas multas são altas."
    (word,) = encoder.explain_words("multa", text, "").words
    assert (word.word, word.source, word.query_word) == ("multas", "text", "multa")
    assert [text[place.start : place.end] for place in word.places] == ["multas"]


@pytest.mark.parametrize("model", ["mini-lexico", "mini-bert"])
def test_forms_of_one_word_are_one_match_with_the_places_of_all(model: str) -> None:
    encoder = SpladeEncoder.load(model)
    text = "recorrer da multa, das multas"
    found = {match.word: match for match in encoder.explain_words("multa", text, "Multas").words if match.source != "expansion"}
    (match,) = found.values()
    assert (match.source, match.title_places) == ("text", ((0, 6),))
    assert [text[start:end] for start, end in match.places] == ["multa", "multas"]


def test_a_word_that_shares_only_a_piece_is_no_form_of_another() -> None:
    words = SpladeEncoder.load("mini-bert").explain_words("desfazer", "desligar e desfazer").words
    assert {place for match in words for place in match.places} == {(11, 19)}


@pytest.mark.parametrize("text", ["O guarda abriu o guarda-chuva.", "O guarda-chuva do guarda.", "gua\u00adrda, guarda\u200b e d'guarda"])
def test_every_place_of_a_word_is_marked_whatever_joins_it_to_others(text: str) -> None:
    [word] = [word for word in SpladeEncoder.load("mini-lexico").explain_words("guarda", text).words if word.source == "text"]
    found = [re.sub("[\u00ad\u200b]", "", text[start:end]) for start, end in word.places]
    assert found == ["guarda"] * len(re.findall("guarda", re.sub("[\u00ad\u200b]", "", text)))


def test_a_word_may_have_very_many_tokens() -> None:
    class Letters(HashingEncoder):
        """Every letter is a token."""

        def pieces(self, text: str) -> list[tuple[int, int, int]]:
            return [(ord(letter), n, n + 1) for n, letter in enumerate(text)]

    vector = SparseVector([ord("a")], [1.0])
    [word] = explain_words(vector, vector, Letters(), query="a", text="a" * 200_000).words
    assert word.places == ((0, 200_000),)
