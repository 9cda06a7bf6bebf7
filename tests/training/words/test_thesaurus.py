"""Reading a thesaurus: lines to senses over terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splade_ptbr_connectors.encoding.thesaurus import EQUIVALENT, HEAD, RELATED
from splade_ptbr_connectors.errors import InputFileError
from training.words.thesaurus import Line, build_thesaurus, read_thesaurus

IDS = {"a": 0, "b": 1, "c": 2, "d": 3}


def terms_of(texts: list[str]) -> list[np.ndarray]:
    return [np.array([IDS[word] for word in text.split() if word in IDS], np.int64) for text in texts]


def test_columns_are_lists_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a\tb, c d ,\t d\n\nb\n", encoding="utf-8")
    assert read_thesaurus(path) == [Line("a", ("b", "c d"), ("d",)), Line("b", (), ())]


@pytest.mark.parametrize("line", ["\tb\tc", "a\tb\tc\td"])
def test_a_line_of_another_shape_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"a\tb\n{line}\n", encoding="utf-8")
    with pytest.raises(InputFileError, match="2"):
        read_thesaurus(path)


def test_what_has_no_term_or_is_there_already_is_left_out() -> None:
    lines = [Line("a", ("b c", "x", "a"), ("d", "b c")), Line("x", ("y",), ()), Line("d", ("d d",), ())]
    made = build_thesaurus(lines, terms_of, 4)
    assert made.expressions.values.tolist() == [0, 1, 2, 3] and made.expressions.sizes.tolist() == [1, 2, 1]
    assert made.senses.sizes.tolist() == [3] and made.roles.tolist() == [HEAD, EQUIVALENT, RELATED]
