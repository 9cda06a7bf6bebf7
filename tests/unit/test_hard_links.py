"""A copy made of hard links (`cp -al`) is a copy: what is written in it leaves the original as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from splade_ptbr_connectors.atomic import unshare
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.sentence_transformers_writer import write_sentence_transformers_files
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.ingestion.checkpoint import Checkpoint, ResumePoint, RunIdentity
from splade_ptbr_connectors.ingestion.dead_letter import DeadLetter, dead_letter_line
from splade_ptbr_connectors.ingestion.report import IngestCounts
from splade_ptbr_connectors.stores.model_stamp import ModelStamp, StoreDescription, write_sidecar
from training.runlog import RunLog

LINE = dead_letter_line(1, "because", {"_id": "a"})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def save_other_weights(folder: Path) -> None:
    model = SpladeModel.from_folder(folder, find_model(folder).config)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    model.save_folder(folder)


def append_dead_letters(folder: Path) -> None:
    with_rest = DeadLetter(folder / "dead.jsonl", keep_bytes=len(LINE))
    with_rest.append([LINE, LINE])
    with_rest.close()


def new_sidecar(folder: Path) -> None:
    write_sidecar(folder, StoreDescription("edge", ModelStamp("m", "f", 5, {}), {}))


def log_a_row(folder: Path) -> None:
    with RunLog(folder / "log.jsonl") as log:
        log.append({"event": "end", "step": 2})


WRITERS: dict[str, Callable[[Path], None]] = {
    "settings of a model": lambda folder: EncoderConfig(vocab_size=7).write(folder),
    "files of sentence-transformers": lambda folder: write_sentence_transformers_files(folder, find_model(folder).config),
    "weights": save_other_weights,
    "a checkpoint": lambda folder: Checkpoint(folder / "c", RunIdentity("m", "f", "s", "i"), {}).save(
        ResumePoint(9, "", IngestCounts(), 0), 0.0
    ),
    "dead letters": append_dead_letters,
    "a sidecar": new_sidecar,
    "the log of a training run": log_a_row,
}


@pytest.fixture
def original(tiny_model: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "original"))
    EncoderConfig(vocab_size=find_model(folder).config.vocab_size, max_length_query=9, max_length_document=9).write(folder)
    for name in ("c", "splade-store.json", "modules.json", "sentence_bert_config.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "dead.jsonl").write_text(LINE + LINE, encoding="utf-8")
    (folder / "log.jsonl").write_text(json.dumps({"event": "end", "step": 1}) + "\n" + '{"torn', encoding="utf-8")
    return folder


@pytest.mark.parametrize("writer", WRITERS)
def test_writing_into_a_copy_leaves_the_original(writer: str, original: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "copy", copy_function=os.link))
    before = content(original)
    WRITERS[writer](copy)
    assert content(original) == before
    assert content(copy) != before


def test_only_a_shared_file_is_copied(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"content")
    file.chmod(0o640)
    alone = file.stat().st_ino
    unshare(file)
    assert file.stat().st_ino == alone
    os.link(file, other)
    (tmp_path / "link").symlink_to(file)
    unshare(tmp_path / "link")
    assert file.stat().st_ino != other.stat().st_ino == alone
    assert (tmp_path / "link").is_symlink()
    assert (file.read_bytes(), file.stat().st_mode) == (other.read_bytes(), other.stat().st_mode)
    unshare(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "link"]
