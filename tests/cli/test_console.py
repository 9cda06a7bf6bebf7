"""How hits look: in a pipe, in a terminal, narrow or wide."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from splade_ptbr_connectors.cli.console import show_hits, show_table, word_line


def word(name: str, contribution: float, source: str = "term", *places: tuple[int, int]) -> dict[str, Any]:
    found = [{"start": start, "end": end} for start, end in places]
    return {"word": name, "contribution": contribution, "source": source, "places": found}


WORDS = [word(f"palavra{n}", 4.0 - n / 2) for n in range(8)]
HIT = {"doc_id": "d1", "score": 12.5, "title": "Título", "text": "uma frase longa " * 40, "words": WORDS}


def shown(width: int, *, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    show_hits(console, [HIT])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_hit_is_four_lines_that_fit(width: int, terminal: bool) -> None:
    lines = shown(width, terminal=terminal)
    assert len(lines) == 4
    assert max(map(len, lines)) <= min(width, 113)
    assert "12.500" in lines[0] and "Título (d1)" in lines[0]
    assert lines[2].endswith(" ...") and not lines[1].strip().startswith("...")
    assert lines[3].strip().split()[-3 if "more" in lines[3] else 0] is not None and "palavra0 +4.00" in lines[3]


def test_words_that_do_not_fit_are_counted() -> None:
    line = word_line(WORDS, 60, bars=False)
    named = line.count("palavra")
    assert 0 < named < 8 and line.endswith(f"and {8 - named} more")
    assert word_line(WORDS[:2], 60, bars=False) == "palavra0 +4.00  palavra1 +3.50"
    assert word_line([], 60, bars=True) == ""


def test_bars_are_as_long_as_the_contributions() -> None:
    parts = [word("a", 4.0), word("b", 2.0), word("c", 0.001)]
    assert word_line(parts, 80, bars=True) == "████ a +4.00  ██ b +2.00  ▏ c +0.00"


@pytest.mark.parametrize("before", ["", "texto antes " * 400])
def test_matched_words_are_marked_where_they_are(before: str) -> None:
    """The passage begins at a place of its document, and the lines shown hold the matched word."""
    text = before + "o prazo de trinta dias"
    start = 1000 + len(before) + 2
    words = [word("prazo", 2.0, "text", (start, start + 5)), word("multa", 1.0, "title"), word("recurso", 0.5, "expansion")]
    hit = {"doc_id": "d", "score": 3.5, "title": "Multa", "text": text, "words": words, "passage": {"number": 1, "start": 1000, "of": 2}}
    plain = Console(file=io.StringIO(), width=100, highlight=False)
    show_hits(plain, [hit])
    assert isinstance(plain.file, io.StringIO)
    lines = plain.file.getvalue().splitlines()
    assert any("**prazo**" in line for line in lines) and len(lines) <= 6
    assert lines[-1].strip() == "prazo +2.00  multa (title) +1.00  recurso (not in the text) +0.50"
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard", highlight=False)
    show_hits(terminal, [hit])
    assert isinstance(terminal.file, io.StringIO)
    assert "mprazo\x1b[0m" in terminal.file.getvalue() and "**" not in terminal.file.getvalue()


def test_a_hit_without_a_title_or_text() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None, highlight=False)
    show_hits(console, [{"doc_id": "só-vetor", "score": 1.0, "title": "", "text": ""}])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == " 1   1.000  (só-vetor)\n"


def test_titles_and_ids_do_not_command_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, highlight=False)
    show_hits(console, [{"doc_id": "a\x1b]0;x\x07", "score": 1.0, "title": "b\x9b2J", "text": "c\x1b[31m \u202ed"}])
    assert isinstance(console.file, io.StringIO)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(console.file.getvalue())


def test_tables_are_aligned() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None, highlight=False)
    show_table(console, ("nome", "valor"), [("a", "1.5"), ("bb", "12.5")], numeric=(1,))
    assert isinstance(console.file, io.StringIO)
    rows = [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]
    assert rows[0].split() == ["nome", "valor"] and len({len(row) for row in (rows[0], rows[2], rows[3])}) == 1
