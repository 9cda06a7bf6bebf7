"""splade-ptbr ingest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.cli import ingest as ingest_command
from splade_ptbr_connectors.cli.ingest import _rate
from splade_ptbr_connectors.errors import IngestError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores import open_store
from tests.support.encoders import HashingEncoder

from .conftest import DOCUMENTS, Command, assert_fails, write_jsonl

BAD_LINES = [
    '{"_id": "ok", "text": "gripe"}',
    '{"_id": "quebrada", "text": ',
    '{"text": "sem id"}',
    '{"_id": "sem-texto", "title": "t"}',
    '{"_id": "ok", "text": "de novo"}',
    '{"_id": "número", "text": 5}',
    '{"_id": "sub", "text": "\\ud800"}',
    '{"_id": "nul", "text": "a\\u0000b"}',
]


def stored(url: str) -> set[str]:
    with open_store(url, encoder=HashingEncoder("mini")) as store:
        return set(store.get(["1", "2", "3", "4", "ok"]))


def test_documents_are_stored_and_a_second_run_changes_nothing(cli: Command, corpus: Path) -> None:
    first = cli("ingest", corpus, "--store", "edge:loja", "--json").json
    again = cli("ingest", corpus, "--store", "edge:loja", "--json").json
    assert (first["read"], first["written"], first["unchanged"], first["rejected"], first["documents"]) == (4, 4, 0, 0, 4)
    assert (again["read"], again["written"], again["unchanged"], again["rejected"], again["documents"]) == (4, 0, 4, 0, 4)
    assert (first["store"], first["model"], first["dead_letter"]) == ("edge:loja", "mini", None)
    assert stored("edge:loja") == {"1", "2", "3", "4"}


def test_for_people_a_summary(cli: Command, corpus: Path) -> None:
    outcome = cli("ingest", corpus, "--store", "edge:loja")
    assert outcome.code == 0 and outcome.err == ""
    assert "4 records read" in outcome.out and "4 written" in outcome.out and "holds 4 documents" in outcome.out


def test_csv_and_stdin(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.csv").write_text('_id,title,text\n1,Bolo,"fubá, leite"\n')
    assert cli("ingest", "c.csv", "--store", "edge:csv", "--json").json["written"] == 1
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(one) + "\n" for one in DOCUMENTS))
    with open(tmp_path / "c.jsonl", encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli("ingest", "-", "--store", "edge:stdin", "--json").json["written"] == 4


def test_rejected_records_are_listed_and_change_the_exit_code(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "ruim.jsonl").write_text("\n".join(BAD_LINES) + "\n")
    outcome = cli("ingest", "ruim.jsonl", "--store", "edge:loja", "--json")
    assert_fails(outcome, 7, "7 of 8 records were rejected", "line 2", "ingest-rejected.jsonl")
    report = outcome.json
    assert (report["read"], report["written"], report["rejected"]) == (8, 1, 7)
    assert sum(report["reasons"].values()) == 7
    dead = [json.loads(line) for line in Path(report["dead_letter"]).read_text().splitlines()]
    assert [one["line"] for one in dead] == [2, 3, 4, 5, 6, 7, 8]
    assert stored("edge:loja") == {"ok"}


def test_rejected_records_can_be_allowed(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "ruim.jsonl").write_text("\n".join(BAD_LINES) + "\n")
    outcome = cli("ingest", "ruim.jsonl", "--store", "edge:loja", "--dead-letter", "fora.jsonl", "--allow-rejected")
    assert outcome.code == 0
    assert "7 rejected" in outcome.out and "warning: 7 of 8" in outcome.err and "fora.jsonl" in outcome.err
    assert len(Path("fora.jsonl").read_text().splitlines()) == 7


def test_on_long_error_rejects_long_texts(cli: Command, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", [{"_id": "1", "text": "curto"}, {"_id": "2", "text": "longo " * 60}])
    outcome = cli("ingest", "c.jsonl", "--store", "edge:loja", "--on-long", "error", "--json")
    assert_fails(outcome, 7, "line 2", "60 words")
    assert outcome.json["written"] == 1


def test_a_text_of_10_megabytes_is_rejected(cli: Command, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", [{"_id": "1", "text": "a" * 10_000_000}])
    outcome = cli("ingest", "c.jsonl", "--store", "edge:loja", "--json")
    assert_fails(outcome, 7, "line 1", "10,000,000 characters")


def test_files_that_cannot_be_read(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "vazio.jsonl").touch()
    (tmp_path / "pasta").mkdir()
    (tmp_path / "utf16.jsonl").write_bytes('{"_id": "1"}'.encode("utf-16"))
    for name, what in (("vazio.jsonl", "empty"), ("pasta", "directory"), ("nada.jsonl", "nada.jsonl"), ("utf16.jsonl", "UTF-16")):
        assert_fails(cli("ingest", name, "--store", "edge:loja"), 3, what)
    assert not (tmp_path / "loja").exists()


def test_a_missing_model_and_another_model(cli: Command, corpus: Path, filled: str) -> None:
    assert_fails(cli("ingest", corpus, "--store", "edge:nova", "--model", "no-such-model"), 4, "no-such-model")
    assert not Path("nova").exists()
    assert_fails(cli("ingest", corpus, "--store", filled, "--model", "outro"), 4, "'mini'", "'outro'")
    assert stored(filled) == {"1", "2", "3", "4"}


def test_a_killed_run_goes_on_and_restart_begins_anew(cli: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is the engine's business; here: that it is on by default, in the store's folder, and --restart reaches it."""
    Path("loja").mkdir(exist_ok=True)
    assert cli("ingest", corpus, "--store", "edge:loja").code == 0
    assert not Path("loja/ingest-checkpoint.json").exists()  # removed when the run is complete
    Path("loja/ingest-checkpoint.json").write_text("{}")
    assert_fails(cli("ingest", corpus, "--store", "edge:loja"), 3, "ingest-checkpoint.json", "not a checkpoint")
    assert_fails(cli("ingest", corpus, "--store", "edge:loja", "--checkpoint", corpus), 3, "corpus.jsonl")


def test_a_resumed_run_tells_what_the_checkpoint_knew_from_what_was_stored_after_it(cli: Command, corpus: Path) -> None:
    with open_store("edge:loja", encoder=HashingEncoder("mini")) as store:
        with pytest.raises(IngestError):
            ingest(interrupted(DOCUMENTS[:1]), store, checkpoint="loja/ingest-checkpoint.json")
        ingest(DOCUMENTS[:3], store)  # as a run that is killed before it saves its next checkpoint
    out = cli("ingest", corpus, "--store", "edge:loja").out
    assert out.startswith("4 records read\nresumed after record 1, the last in the checkpoint; what the interrupted run stored after it ")
    assert "2 written" in out and "2 unchanged" in out  # record 1 by the interrupted run, and record 4


def interrupted(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from records
    raise IngestError("interrupted")


def test_two_tenants_of_a_folder_have_their_own_checkpoints(cli: Command, corpus: Path) -> None:
    paths = {cli("ingest", corpus, "--store", "edge:loja", "--tenant", name, "--json").json["checkpoint"] for name in "ab"}
    paths.add(cli("ingest", corpus, "--store", "edge:loja", "--json").json["checkpoint"])
    assert len(paths) == 3 and "loja/ingest-checkpoint.json" in paths


def test_ready_vectors_need_no_network_of_the_model(cli: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("encode", corpus, "v.jsonl", "--with-record")
    asked: list[bool] = []
    load = ingest_command.load_encoder
    monkeypatch.setattr(ingest_command, "load_encoder", lambda *a, **k: asked.append(k["preload"]) or load(*a, **k))
    for name in ("v.jsonl", corpus):
        cli("ingest", name, "--store", "edge:loja")
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "ray"], ["one process"]),
        (["--engine", "ray", "--checkpoint", "c.json"], ["--checkpoint", "--engine local"]),
        (["--engine", "ray", "--restart"], ["--restart"]),
        (["--workers", "2"], ["--engine ray"]),
        (["--ray-address", "auto"], ["--engine ray"]),
        (["--engine", "spark"], ["spark"]),
    ],
)
def test_what_an_engine_cannot_do_is_refused(cli: Command, corpus: Path, arguments: list[str], words: list[str]) -> None:
    assert_fails(cli("ingest", corpus, "--store", "edge:loja", *arguments), 2, *words)
    assert not Path("loja").exists()


def test_without_ray_its_extra_is_named(cli: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)
    outcome = cli("ingest", corpus, "--store", "qdrant+http://127.0.0.1:1/leis", "--engine", "ray")
    assert_fails(outcome, 6, 'pip install "splade-ptbr-connectors[ray]"')


def test_a_dead_letter_file_that_is_something_else_is_left_alone(cli: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "notas.txt").write_text("minhas notas")
    assert_fails(cli("ingest", corpus, "--store", "edge:loja", "--dead-letter", "notas.txt"), 3, "notas.txt")
    assert (tmp_path / "notas.txt").read_text() == "minhas notas"


@pytest.mark.parametrize(("a_second", "shown"), [(0.034, "0.034"), (0.5, "0.5"), (9.96, "10"), (1234.5, "1,234")])
def test_a_rate_of_long_documents_is_not_nought(a_second: float, shown: str) -> None:
    assert _rate(a_second) == shown
