"""read_idf(): a table of token weights from a file, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import InputFileError
from training.models.queries import read_idf

VOCABULARY = {"a": 0, "imposto": 1, "renda": 2}


def test_tokens_that_are_not_in_the_file_weigh_nothing(tmp_path: Path) -> None:
    path = tmp_path / "idf.json"
    path.write_text(json.dumps({"renda": 2.5, "a": 0}))
    assert read_idf(path, VOCABULARY).tolist() == [0.0, 0.0, 2.5]


@pytest.mark.parametrize("content", ['{"a": NaN}', '{"a": Infinity}', '{"a": -1}', '{"a": "much"}', '["a"]', "{", '{"b": 1}'])
def test_what_is_no_table_of_this_vocabulary_is_refused_with_the_path(content: str, tmp_path: Path) -> None:
    path = tmp_path / "idf.json"
    path.write_text(content)
    with pytest.raises(InputFileError, match=r"idf\.json"):
        read_idf(path, VOCABULARY)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no IDF table"):
        read_idf(tmp_path / "none.json", VOCABULARY)
