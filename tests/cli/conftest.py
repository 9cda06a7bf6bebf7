"""Commands run in this process, on real edge stores, with a hashing encoder in place of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from splade_ptbr_connectors.cli.main import run
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.report import EncodingReport
from splade_ptbr_connectors.errors import ModelNotFoundError
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

DOCUMENTS = [
    {"_id": "1", "title": "Vacina", "text": "vacina contra a gripe", "metadata": {"subject": "saúde"}},
    {"_id": "2", "title": "Bolo", "text": "receita de bolo com café", "metadata": {"subject": "culinária"}},
    {"_id": "3", "title": "", "text": "prazo para recorrer da multa", "metadata": {"subject": "direito"}},
    {"_id": "4", "title": "Febre", "text": "gripe e febre", "metadata": {"subject": "saúde"}},
]


class StandInEncoder(HashingEncoder):
    """A hashing encoder with the rest of SpladeEncoder's surface that the commands use."""

    runtime = SimpleNamespace(name="onnx")

    @property
    def report(self) -> EncodingReport:
        return EncodingReport(texts=self.texts_encoded)

    def token(self, term_id: int) -> str:
        return f"t{term_id}"

    def decode(self, vector: SparseVector) -> list[tuple[str, float]]:
        return sorted(((self.token(term), weight) for term, weight in vector.to_dict().items()), key=lambda pair: -pair[1])


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "STORE",
        "MODEL",
        "K",
        "DEBUG",
        "QUERIES",
        "QRELS",
        "DEAD_LETTER",
        "DEMO_STORE",
        "TENANT",
        "CHECKPOINT",
        "ENGINE",
        "WORKERS",
    ):
        monkeypatch.delenv(f"SPLADE_PTBR_{name}", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # in English, unless a test asks for another language
    monkeypatch.setenv("SPLADE_PTBR_STATE", str(tmp_path / "state"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run a command line in a folder of its own; models are hashing encoders, except "no-such-model"."""

    def load(model: str = "mini", **settings: Any) -> StandInEncoder:
        if model == "no-such-model":
            raise ModelNotFoundError(f"no model {model!r}.")
        limit = 50 if settings.get("on_long") == "error" else None
        return StandInEncoder(str(model), max_words=limit)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    monkeypatch.setattr(SpladeEncoder, "load", load)
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "corpus.jsonl", DOCUMENTS)


@pytest.fixture
def filled(cli: Command, corpus: Path) -> str:
    """The URL of an edge store with the four documents."""
    assert cli("ingest", corpus, "--store", "edge:loja").code == 0
    return "edge:loja"


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def assert_fails(outcome: Outcome, code: int, *words: str) -> None:
    """The command failed with this code and one line on stderr that has these words, without a traceback."""
    assert outcome.code == code, outcome
    [line] = [line for line in outcome.err.splitlines() if line.startswith("splade-ptbr: error: ")]
    assert "Traceback" not in outcome.err
    assert all(word in line for word in words), line
