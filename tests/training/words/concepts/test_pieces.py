"""A smaller vocabulary reads every text as before where it has the pieces, and loses no character where it has not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from splade_ptbr_connectors.errors import ConfigError
from tests.training.words.concepts.teacher import make_teacher
from tests.unit.encoding.tiny import LETTERS
from training.words.concepts.pieces import fewer_pieces

TEXTS = ["a casa de imposto", "imposto de renda", "qual é a casa?"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher") / "model")


@pytest.mark.parametrize("size", [1, 90, 1_000])
def test_pieces_keep_what_they_say(teacher: Path, size: int) -> None:
    whole, (fewer, ids) = Tokenizer.from_file(str(teacher / "tokenizer.json")), fewer_pieces(teacher, TEXTS, size)
    assert [whole.id_to_token(old) for old in ids.tolist()] == [fewer.id_to_token(new) for new in range(len(ids))]
    for text in TEXTS if size == 1_000 else []:
        assert [ids[new] for new in fewer.encode(text).ids] == whole.encode(text).ids
    assert fewer.token_to_id("<unk>") not in fewer.encode(LETTERS).ids
    assert fewer.decode(fewer.encode("qual imposto").ids).replace("▁", "").replace(" ", "") == "qualimposto"


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}', encoding="utf-8")
    with pytest.raises(ConfigError, match="WordPiece"):
        fewer_pieces(tmp_path, TEXTS, 100)
