"""Sentences end where a reader of Portuguese ends them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.borders import MAX_UNIT, Border, _border, borders, units


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("O Sr. Dr. João da S. Silva chegou. Saiu logo.", ["chegou.", "logo."]),
        ("Conforme o art. 5º, inc. II, e o § 1º da Lei nº 8.112, cabe recurso. Prazo: 10 dias.", ["recurso.", "dias."]),
        ("Custa R$ 1.234,56. Com desconto, 3.5 a menos.", ["1.234,56.", "menos."]),
        ('Ele perguntou: "Vamos?" Ninguém respondeu... Depois, silêncio…', ['"Vamos?"', "respondeu...", "silêncio…"]),
        ("“Quem?” disse ela. «Eu.» Fim", ["ela.", "«Eu.»", "Fim"]),
        ("Espere... ainda não! Agora sim.", ["não!", "sim."]),
        ("A Cia. Vale S.A. Brasil, fls. 12, p. ex. Outra, etc. Mas acabou.", ["etc.", "acabou."]),
        ("1. Objeto. Trata do tema.\n2. Prazo. São dez dias.", ["Objeto.", "tema.", "Prazo.", "dias."]),
        ("Veja a pág. 3 da Av. Paulista, tel. 555. (Fim.)", ["555.", "(Fim.)"]),
        ("Cabe recurso. Art. 18. O prazo corre. § 10. Não se aplica.", ["recurso.", "corre.", "aplica."]),
        ("Veja o item 3. Outro.", ["3.", "Outro."]),
        ("Havia a opção a e o. Nada mais havia.", ["o.", "havia."]),
    ],
)
def test_sentences(text: str, ends: list[str]) -> None:
    spans = units(text)
    found = [text[start:end] for (start, end), border in zip(spans, borders(text, spans), strict=True) if border >= Border.SENTENCE]
    assert found == ends


@pytest.mark.parametrize(
    ("gap", "border"),
    [
        (" ", Border.WORD),
        ("\n", Border.LINE),
        ("\r\n", Border.LINE),
        ("\n\n", Border.PARAGRAPH),
        ("\r\n \t\r\n", Border.PARAGRAPH),
        ("; ", Border.CLAUSE),
        (" - ", Border.CLAUSE),
        (". ", Border.SENTENCE),
        (".\n", Border.SENTENCE),
        (".\n\n", Border.PARAGRAPH),
    ],
)
def test_what_ends_between_two_words(gap: str, border: Border) -> None:
    text = f"prazo{gap}Recurso"
    assert borders(text, units(text))[0] == border


@given(st.text(max_size=300))
def test_units_are_all_but_white_space(text: str) -> None:
    spans = units(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(0 < end - start <= MAX_UNIT for start, end in spans)
    assert len(borders(text, spans)) == len(spans)


@given(
    text=st.lists(
        st.sampled_from(["prazo", "Arte", "1.", "fim.", "fim...", ")", "- ", "–", "•", "Sr.", "É", ",", '"', " ", "  ", "\n", "\n\n", "\t"])
    ).map("".join)
)
def test_the_usual_border_of_words_is_what_all_others_are_found_by(text: str) -> None:
    spans, begins_line, expected = units(text), True, list[Border]()
    for (start, end), (after, behind) in pairwise(spans):
        border = _border(text[start:end], text[end:after], text[after:behind], begins_line)
        begins_line = border in (Border.PARAGRAPH, Border.LINE) or "\n" in text[end:after]
        expected.append(border)
    assert borders(text, spans)[:-1] == expected
