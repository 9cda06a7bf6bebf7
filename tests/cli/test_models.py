"""Model folders that cannot be used, through the command line: exit code 4, one line, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from splade_ptbr_connectors.cli.main import run

from .conftest import DOCUMENTS, Outcome, assert_fails, write_jsonl


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.txt").unlink()


def another_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 7}))


def only_bin_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    monkeypatch.chdir(tmp_path)
    return call


@pytest.mark.parametrize("damage", [without_tokenizer, another_vocabulary, only_bin_weights, truncated_weights, broken_config])
def test_a_damaged_model_folder(tiny_model: Path, call: Callable[..., Outcome], damage: Callable[[Path], None]) -> None:
    shutil.copytree(tiny_model, "modelo")
    damage(Path("modelo"))
    write_jsonl(Path("c.jsonl"), DOCUMENTS)
    for arguments in (("ingest", "c.jsonl", "--store", "edge:loja"), ("encode", "c.jsonl", "v.jsonl")):
        assert_fails(call(*arguments, "--model", "modelo"), 4, "modelo")
    assert not Path("loja").exists() and not Path("v.jsonl").exists()


def test_a_file_and_a_folder_that_is_no_model(call: Callable[..., Outcome]) -> None:
    write_jsonl(Path("c.jsonl"), DOCUMENTS)
    Path("vazia").mkdir()
    for model in ("c.jsonl", "vazia", "./nada"):
        assert_fails(call("encode", "c.jsonl", "v.jsonl", "--model", model), 4, model)


def test_a_model_folder_from_encoding_to_evaluation(tiny_model: Path, call: Callable[..., Outcome]) -> None:
    """Every command on a real encoder: what one command stores, the next one finds."""
    write_jsonl(Path("c.jsonl"), DOCUMENTS)
    write_jsonl(Path("q.jsonl"), [{"_id": "q1", "text": "prazo da vacina"}])
    Path("qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t1\n")
    assert call("encode", "c.jsonl", "v.jsonl", "--model", tiny_model, "--tokens").code == 0
    assert all(json.loads(line)["tokens"] for line in Path("v.jsonl").read_text().splitlines())
    report = call("ingest", "c.jsonl", "--store", "edge:loja", "--model", tiny_model, "--json").json
    assert (report["written"], report["encoding"]["texts"]) == (4, 4)
    hits = call("search", "prazo da vacina", "--store", "edge:loja", "--explain", "--json").json["hits"]
    assert len(hits) == 4
    for hit in hits:
        assert sum(part["contribution"] for part in hit["words"]) == pytest.approx(hit["score"], rel=1e-5)
        assert all(isinstance(part["word"], str) for part in hit["words"])
    measured = call("evaluate", "--store", "edge:loja", "--queries", "q.jsonl", "--qrels", "qrels.tsv", "--json").json
    assert measured["measures"]["R@100"] == 1.0
    assert_fails(call("ingest", "c.jsonl", "--store", "edge:loja", "--model", tiny_model, "--on-long", "truncate"), 4, "edge:loja")
    assert call("ingest", "c.jsonl", "--store", "edge:cut", "--model", tiny_model, "--on-long", "truncate").code == 0
    assert call("search", "prazo", "--store", "edge:cut").code == 0  # the store says how its model was loaded
