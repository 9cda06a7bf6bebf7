"""Words that share a term, and words that only look as if they did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.words.stems import FEWEST, IRREGULAR, LEAST_SHARE, NO_FORMS, NO_PLURALS, STRESSED, Stems, fold, infinitives, plurals

PLURALS = (
    "ano anos, dia dias, hotel hotéis, móvel móveis, animal animais, lençol lençóis, azul azuis, funil funis, fácil fáceis, homem homens, "
    "função funções, pão pães, mão mãos, mês meses, inglês ingleses, país países, flor flores, luz luzes, abdômen abdômenes, link links"
).split(", ")


@pytest.mark.parametrize("pair", PLURALS)
def test_a_plural_has_the_term_of_its_singular(pair: str) -> None:
    singular, plural = pair.split()
    assert plural in plurals(singular)
    stems = Stems({singular: 5, plural: 5})
    assert stems.of(fold(singular)) == stems.of(fold(plural)) is not None


@given(word=st.text("abcdelmnorsuzãõéêíç", min_size=1, max_size=9))
def test_a_plural_ends_in_s_and_is_another_word(word: str) -> None:
    assert all(plural.endswith("s") and plural != word and len(plural) <= len(word) + 2 for plural in plurals(word))


@pytest.mark.parametrize(
    ("frequency", "singular", "plural"),
    [
        ({"encontramo": FEWEST - 1, "encontramos": 5}, "encontramo", "encontramos"),  # a slip
        ({"encontramo": 9, "encontramos": round(9 / LEAST_SHARE) + 1}, "encontramo", "encontramos"),
        ({"apo": 9, "após": 9}, "apo", "apos"),  # spelt otherwise than a plural of it would be
        *[({plural[:-1]: 9, plural: 9}, plural[:-1], plural) for plural in sorted(NO_PLURALS)],
    ],
)
def test_what_only_looks_like_a_plural_has_its_own_term(frequency: dict[str, int], singular: str, plural: str) -> None:
    stems = Stems(frequency)
    assert stems.of(plural) is None or stems.of(plural) != stems.of(singular)


def test_a_plural_leaves_the_words_that_the_stemmer_puts_it_with() -> None:
    stems = Stems({"hot": 9, "hotel": 9, "hotéis": 9})
    assert stems.of("hoteis") == stems.of("hotel") != stems.of("hot")


@pytest.mark.parametrize(("singular", "plural"), [("dm", "dns"), ("il", "is")])
def test_a_word_of_two_letters_has_no_plural_but_in_s(singular: str, plural: str) -> None:
    assert list(plurals(singular)) in ([f"{singular}s"], []) and plural not in plurals(singular)
    assert list(plurals("pé")) == ["pés"]


FORMS = (
    "fique ficar, fiquei ficar, fiquemos ficar, pague pagar, paguem pagar, exija exigir, proteja proteger, sinto sentir, sinta sentir, "
    "consigo conseguir, sigam seguir, durmo dormir, cubra cobrir, foge fugir, sobem subir, prefiro preferir, "
    "faço fazer, fizeram fazer, desfaça desfazer, satisfaça satisfazer, trouxe trazer, tragam trazer, peço pedir, impeça impedir, "
    "meço medir, "
    "ouço ouvir, perco perder, caiba caber, coube caber, mantenha manter, obtiver obter, imponha impor, convenha convir, valha valer"
).split(", ")


@pytest.mark.parametrize("pair", FORMS)
def test_a_form_that_is_spelt_otherwise_has_the_term_of_its_verb(pair: str) -> None:
    form, infinitive = pair.split()
    assert infinitive in infinitives(form)
    stems = Stems({form: 1, infinitive: FEWEST})
    assert stems.of(fold(form)) == stems.of(infinitive) is not None


def test_a_verb_that_text_hardly_has_is_a_slip() -> None:
    assert Stems({"fique": 9, "ficar": FEWEST - 1}).of("fique") != Stems({"fique": 9, "ficar": FEWEST}).of("fique")


def test_every_irregular_root_has_its_verb_before_all_its_endings_and_no_others() -> None:
    for endings, verbs in IRREGULAR.items():
        for root, infinitive in verbs.items():
            assert all(infinitive in infinitives(root + ending) for ending in endings)
            assert all(infinitive not in infinitives(root + ending) for others in IRREGULAR.keys() - {endings} for ending in others)


@pytest.mark.parametrize(
    ("frequency", "form", "infinitive"),
    [
        ({"come": 9, "cumir": 9, "comar": 9}, "come", "cumir"),  # a regular form of another verb
        ({"ativo": 9, "ativar": 9, "ater": 9}, "ativo", "ater"),
        ({"quer": 9, "car": 9}, "quer", "car"),  # "er" is no ending of a verb in -car
        ({"disso": 9, "dizer": 9}, "disso", "dizer"),
        *[({form: 9, "vestir": 9, "revestir": 9, "pedir": 9, "checar": 9}, form, infinitive)
          for form, infinitive in (("vista", "vestir"), ("revista", "revestir"), ("peça", "pedir"), ("cheque", "checar"))],
    ],
)  # fmt: skip
def test_what_only_looks_like_a_form_has_its_own_term(frequency: dict[str, int], form: str, infinitive: str) -> None:
    stems = Stems(frequency)
    assert stems.of(fold(form)) != stems.of(infinitive)


@pytest.mark.parametrize("word", sorted(NO_FORMS))
def test_what_is_listed_as_no_form_would_be_taken_for_one(word: str) -> None:
    assert list(infinitives(word))


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("rápido", "rap rapar"), ("câmara", "cama camada"), ("dívida", "div"), ("grávida", "grave gravar"), ("sábado", "saber sabe"),
        ("líder", "lidar lide"), ("sólida", "sol"), ("vôlei", "vol"), ("década", "decida"), ("comando", "comer come"),
        ("apelido", "apelar apelação"), ("comprido", "comprar compra"),
    ],
)  # fmt: skip
def test_a_noun_leaves_the_verbs_that_the_stemmer_puts_it_with(word: str, others: str) -> None:
    stems = Stems(dict.fromkeys((word, *others.split()), FEWEST + 1))
    plain = stems._stemmer  # what the stemmer alone would say
    assert all(stems.of(fold(word)) != stems.of(fold(other)) for other in others.split())
    assert any(fold(plain.stemWord(word)) == fold(plain.stemWord(other)) for other in others.split())


@pytest.mark.parametrize(("noun", "kin"), [("rápido", "rapidamente"), ("comando", "comandante"), ("máscara", "mascarado")])
def test_it_joins_its_kin(noun: str, kin: str) -> None:
    stems = Stems({noun: 9, kin: 9, "comer": 9})
    assert stems.of(fold(noun)) == stems.of(kin)


@pytest.mark.parametrize(
    ("word", "infinitive"), [("comida", "comer"), ("partido", "partir"), ("cuidado", "cuidar"), ("parará", "parar"), ("órfão", "orfar")]
)
def test_a_form_of_a_verb_that_text_has_stays_with_it(word: str, infinitive: str) -> None:
    stems = Stems({word: 9, infinitive: 9})
    assert stems.of(fold(word)) == fold(stems._stemmer.stemWord(word))


@given(words=st.dictionaries(st.text("abcdeghijlmnoqrstuvzáãçéêíóõ", min_size=1, max_size=12), st.integers(1, 9), min_size=1, max_size=6))
def test_every_word_has_one_term_without_accents_whatever_text_has(words: dict[str, int]) -> None:
    stems = Stems(words)
    for word in words:
        term = stems.of(fold(word))
        assert term is None or (term and term == fold(term) and term == stems.of(fold(word)))


@given(root=st.text("bcdfglmnprtv", min_size=2, max_size=4), ending=st.sampled_from(sorted(STRESSED)))
def test_words_without_an_accent_of_their_own_are_left_to_the_stemmer(root: str, ending: str) -> None:
    word = f"{root}a{ending}"
    stems = Stems({word: 9})
    assert stems.of(word) in (None, fold(stems._stemmer.stemWord(word)))
