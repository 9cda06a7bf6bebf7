"""What is shown of a hit's text: whole words in so few lines, the ones around the words that add most to its score."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from splade_ptbr_connectors.cli.snippet import CUT, EXPLAINED_LINES, LINES, text_lines
from splade_ptbr_connectors.hits import Mark, stretch

texts = st.lists(st.text("abcçã.", min_size=1, max_size=12) | st.just("x" * 300), min_size=1, max_size=120).flatmap(
    lambda words: st.lists(st.sampled_from([" ", "  ", "\n\n", "\t"]), min_size=len(words), max_size=len(words)).map(
        lambda blanks: "".join(word + blank for word, blank in zip(words, blanks, strict=True))
    )
)


def explained(text: str, places: dict[str, float], start: int = 0) -> dict[str, Any]:
    """A hit whose words are these, each with what it adds, wherever they stand."""
    words = [
        {
            "contribution": adds,
            "places": [{"start": start + at.start(), "end": start + at.end()} for at in re.finditer(re.escape(word), text)],
        }
        for word, adds in places.items()
    ]
    return {"text": text, "words": words, "passage": {"start": start}}


def shown(hit: dict[str, Any], lines: int | None = None, *, width: int = 60, terminal: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    return [line.plain for line in text_lines(hit, width, console, lines)]


@given(
    text=texts, lines=st.integers(1, 5), words=st.dictionaries(st.sampled_from(["a", "b", "ab", "ç", "xxx"]), st.floats(0.1, 9), max_size=3)
)
def test_no_more_lines_than_asked_for_and_no_wider(text: str, lines: int, words: dict[str, float]) -> None:
    found = shown(explained(text, words, start=7), lines)
    assert 1 <= len(found) <= lines and max(map(len, found)) <= 60
    if "x" * 300 not in text:
        read = " ".join(found).replace("**", "").split()
        cut_before, cut_behind = read[0] == CUT and not text.startswith(CUT), read[-1] == CUT
        inside = read[cut_before : len(read) - cut_behind]
        assert f" {' '.join(inside)} " in f" {' '.join(text.split())} "
    if any(word in text for word in words):
        assert "**" in "".join(found)


@given(text=texts, words=st.dictionaries(st.sampled_from(["a", "b", "ç"]), st.floats(0.1, 9), max_size=3), terminal=st.booleans())
def test_zero_lines_are_the_whole_text(text: str, words: dict[str, float], terminal: bool) -> None:
    found = shown(explained(text, words), 0, terminal=terminal)
    assert "".join("".join(found).replace("**", "").split()) == "".join(text.split())


@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 8), st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=30),
    st.integers(9, 200),
)
def test_the_stretch_holds_the_marks_that_add_most(drawn: list[tuple[int, int, int, int]], room: int) -> None:
    text = "abcdefghi " * 60
    adds = [1.0, 2.0, 0.5, 4.0, 0.25, 8.0]
    marks = sorted(Mark(10 * at + skip, 10 * at + min(9, skip + length), word, adds[word]) for at, skip, length, word in drawn)
    start, end = stretch(text, marks, room)

    def inside(first: int, last: int) -> float:
        return sum({mark.word: mark.contribution for mark in marks if first <= mark.start and mark.end <= last}.values())

    assert inside(start, end) >= max(inside(first, first + room) for first in range(600))
    assert text[start : start + 1] == "a" and text[end - 1] == "i"


def test_the_best_words_are_shown_with_what_stands_around_them() -> None:
    text = (
        "o prazo do edital. "
        + "nada de novo aqui. " * 300
        + "Um recurso. Uma multa. "
        + "O prazo do recurso da multa é de trinta dias. "
        + "mais nada aqui. " * 300
    )
    lines = shown(explained(text, {"prazo": 2.0, "recurso": 3.0, "multa": 1.0}))
    whole = " ".join(" ".join(lines).split())
    assert len(lines) == EXPLAINED_LINES and whole.startswith(CUT) and whole.endswith(CUT)
    assert "O **prazo** do **recurso** da **multa** é de trinta dias." in whole
    before, _, behind = whole.partition("O **prazo**")
    assert min(len(before), len(behind)) > 80


def test_without_marks_it_is_the_beginning() -> None:
    text = "palavra " * 100
    assert shown({"text": text}) == shown(explained(text, {"título": 1.0}))
    assert len(shown({"text": text})) == LINES and shown({"text": text})[-1].endswith(CUT)
    assert shown({"text": ""}) == shown({"text": " "}) == [] and shown({"text": "curto"}) == ["curto"]


@pytest.mark.parametrize("words", [{}, {"café": 1.0}])
def test_a_text_does_not_command_the_terminal(words: dict[str, float]) -> None:
    found = shown(explained("um \x1b[31mcafé\x1b[0m \x9b2J com bolo", words))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(found)) and "café" in "".join(found)
