"""Tokenizers that fail, and tokenizers of repositories that hold nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ModelFormatError, ModelNotFoundError

EXPLODING = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
BROKEN = EXPLODING | {"pattern": {"Regex": "("}}


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit_tokenizer(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_regular_expression_that_explodes_is_a_typed_error(model: Path) -> None:
    """The library panics, which is not an Exception: nothing that waits for one would see it."""
    edit_tokenizer(model, {"pre_tokenizer": EXPLODING})
    encoder = SpladeEncoder.load(model, preload=False)
    for encode in (encoder.encode_document, encoder.encode_query):
        with pytest.raises(ModelFormatError, match=r"tokenizer cannot take these texts \(.*retry-limit") as caught:
            encode("a" * 60 + "b")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"pre_tokenizer": BROKEN}, {"model": {"type": "WordPiece"}}, {"normalizer": {"type": "Unknown"}}, {"truncation": 5}, {"model": None}],
    ids=str,
)
def test_what_the_library_cannot_read_is_a_typed_error(model: Path, changes: dict[str, Any]) -> None:
    edit_tokenizer(model, changes)
    with pytest.raises(ModelFormatError, match=r"tokenizer.json cannot be read"):
        SpladeEncoder.load(model)


@pytest.mark.parametrize("content", [b"\xe9\n", b"", b"[UNK]\n" * 3])
def test_a_vocabulary_that_is_none_is_a_typed_error(model: Path, content: bytes) -> None:
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"vocab.txt cannot be read|do not belong together"):
        SpladeEncoder.load(model)


def test_nesting_without_end_is_a_typed_error(model: Path) -> None:
    deep: Any = {"type": "Lowercase"}
    text = (model / "tokenizer.json").read_text(encoding="utf-8")
    inner = json.dumps(json.loads(text)["normalizer"])
    assert inner in json.dumps(json.loads(text))
    nested = '{"type": "Sequence", "normalizers": [' * 5000 + json.dumps(deep) + "]}" * 5000
    (model / "tokenizer.json").write_text(json.dumps(json.loads(text)).replace(inner, nested, 1), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=r"tokenizer.json cannot be read"):
        SpladeEncoder.load(model)


class TestTokenizerOfARepository:
    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The snapshot of somebody/bert in the cache of a hub that cannot be reached."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        revision = "b" * 40
        repository = tmp_path / "hub" / "models--somebody--bert"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(revision)
        snapshot = repository / "snapshots" / revision
        snapshot.mkdir(parents=True)
        return snapshot

    @pytest.mark.parametrize("files", [["tokenizer.json"], ["vocab.txt", "tokenizer_config.json"]])
    @pytest.mark.parametrize("others", [[], ["config.json"], ["config.json", "pytorch_model.bin"]])
    def test_only_the_tokenizer_is_wanted(self, model: Path, hub: Path, files: list[str], others: list[str]) -> None:
        expected = SpladeEncoder.load(model).encode_document("declarar o imposto")
        for name in files:
            shutil.copy(model / name, hub)
        if "vocab.txt" in files:
            (hub / "tokenizer_config.json").write_text('{"do_lower_case": false, "strip_accents": false}', encoding="utf-8")
        for name in others:
            (hub / name).write_bytes(b"{}")
        for name in ("tokenizer.json", "vocab.txt"):
            (model / name).unlink()
        with pytest.raises(ModelFormatError, match=r'or name the model it belongs to with tokenizer=..., e.g. tokenizer="neuralmind/'):
            SpladeEncoder.load(model)
        encoder = SpladeEncoder.load(model, tokenizer="somebody/bert")  # the advice, followed
        assert encoder.encode_document("declarar o imposto") == expected
        again = SpladeEncoder.load(**encoder.load_arguments)
        assert again.fingerprint == encoder.fingerprint

    def test_a_repository_without_one(self, model: Path, hub: Path) -> None:
        (hub / "spiece.model").write_bytes(b"pieces")
        with pytest.raises(ModelFormatError, match="has no tokenizer"):
            SpladeEncoder.load(model, tokenizer="somebody/bert")
        with pytest.raises(ModelNotFoundError, match="nobody/nothing"):
            SpladeEncoder.load(model, tokenizer="nobody/nothing")

    def test_the_tokenizer_of_a_shipped_model(self, model: Path) -> None:
        with pytest.raises(ModelFormatError, match="do not belong together"):
            SpladeEncoder.load(model, tokenizer="mini-bert")
