"""ingest_with_ray on a local Ray: the same documents and the same accounts as ingest() in one process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stores.distributed import working
from splade_ptbr_connectors.cli.main import run
from splade_ptbr_connectors.distributed import ingest_with_ray
from splade_ptbr_connectors.distributed.ray_engine import _load, _Tally
from splade_ptbr_connectors.distributed.rows import COLUMN, Outcome, batches, read_batch
from splade_ptbr_connectors.distributed.worker import Worker
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, IngestError, InputFileError, StoreUnavailableError
from splade_ptbr_connectors.ingestion.dead_letter import DeadLetter
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.items import ReadyVectors
from splade_ptbr_connectors.ingestion.report import Display
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.sources import open_source
from splade_ptbr_connectors.stores import ENGINES, open_store
from tests.support.collections import documents
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import stand_in

from .sqlite_store import SqliteStore, register

COUNT = 300
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")  # Ray copies its own deprecated settings


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two CPUs for the whole file: it takes seconds to start."""
    ray = pytest.importorskip("ray", reason='ray is not installed: pip install "splade-ptbr-connectors[ray]"')
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    root = str(Path(__file__).parents[2])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
        _system_config={"worker_niceness": 0},  # at Ray's own 15 they starve for minutes where other tests want every core
        _node_ip_address="127.0.0.1",
        runtime_env={
            "env_vars": {"PYTHONPATH": root},
            "worker_process_setup_hook": "tests.distributed.sqlite_store.register",
        },
    )
    yield
    ray.shutdown()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    register()
    yield f"sqlite:{tmp_path / 'store.db'}"
    del ENGINES["sqlite"]


def opened(url: str) -> SqliteStore:
    store = open_store(url, encoder=SpladeEncoder.load("mini-bert", preload=False))
    assert isinstance(store, SqliteStore)
    return store


def write_input(path: Path, *, extra: list[str] | None = None) -> list[dict[str, Any]]:
    """COUNT good documents, with five kinds of bad lines among them."""
    good = documents(COUNT)
    lines = [json.dumps(document) for document in good]
    lines[100:100] = ["{broken", '{"text": "no id"}', json.dumps(good[3]), '{"_id": "x", "text": "recusado"}']
    lines.append('{"_id": "y", "text": 5}')
    path.write_text("\n".join(lines + (extra or [])) + "\n", encoding="utf-8")
    return good


ASKED_FOR = {"runtime": "onnx", "device": "cuda"}


@pytest.mark.parametrize("option", ASKED_FOR)
def test_a_network_that_the_model_does_not_have_is_refused_as_without_ray(
    option: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    write_input(tmp_path / "in.jsonl")
    with pytest.raises(ConfigError, match="has no network for") as here:
        SpladeEncoder.load("mini-lexico", **{option: ASKED_FOR[option]})  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as there:
        ingest_with_ray(tmp_path / "in.jsonl", url, "mini-lexico", encoder_options={option: ASKED_FOR[option]})
    assert str(there.value) == str(here.value)
    arguments = ["ingest", str(tmp_path / "in.jsonl"), "--store", url, "--model", "mini-lexico", f"--{option}", ASKED_FOR[option]]
    codes = [run([*arguments, "--engine", engine]) for engine in ("ray", "local")]
    first, second = capsys.readouterr().err.splitlines()
    assert codes == [2, 2] and first == second and str(here.value) in first
    assert not (tmp_path / "store.db").exists()


@pytest.mark.parametrize("runtime", ["auto", "onnx", "torch"])
def test_the_command_hands_the_runtime_to_the_workers(
    runtime: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    write_input(tmp_path / "in.jsonl")
    monkeypatch.setenv("SPLADE_PTBR_STATE", str(tmp_path / "state"))
    asked: list[dict[str, Any]] = []

    def stop(*_: object, encoder_options: dict[str, Any], **__: object) -> None:
        asked.append(encoder_options)
        raise ConfigError("enough.")

    monkeypatch.setattr("splade_ptbr_connectors.distributed.ingest_with_ray", stop)
    assert (
        run(
            [
                "ingest",
                str(tmp_path / "in.jsonl"),
                "--store",
                url,
                "--engine",
                "ray",
                "--model",
                "mini-bert",
                "--runtime",
                runtime,
                "--batch-size",
                "7",
            ]
        )
        == 2
    )
    assert [(each["runtime"], each["batch_size"], each["device"]) for each in asked] == [(runtime, 7, None)]
    assert "enough." in capsys.readouterr().err


@pytest.mark.slow
def test_every_record_is_accounted_for_and_a_second_run_writes_nothing(cluster: None, url: str, tmp_path: Path) -> None:
    good = write_input(tmp_path / "in.jsonl")
    dead = tmp_path / "dead.jsonl"
    first = ingest_with_ray(tmp_path / "in.jsonl", url, "mini-bert", max_batch_documents=32, dead_letter=dead, workers=2)
    assert (first.read, first.written, first.unchanged, first.rejected) == (COUNT + 5, COUNT, 0, 5)
    assert first.reconciled is not None and first.reconciled.ok
    assert (first.reconciled.count_expected, first.reconciled.count_found) == (COUNT, COUNT)
    assert first.dead_letter == str(dead) and sum(first.reasons.values()) == 5
    assert [json.loads(line)["line"] for line in dead.read_text().splitlines()] == [101, 102, 103, 104, COUNT + 5]
    with opened(url) as store:
        assert os.getpid() not in store.writers()
        expected = {record.doc_id: record for record in map(Record.from_mapping, good)}
        held = {entry.doc_id: entry for entry in store.scan()}
        assert {name: entry.content_hash for name, entry in held.items()} == {name: r.content_hash for name, r in expected.items()}
        vectors = store.encoder.encode_documents(record.content for record in expected.values())
        for record, vector in zip(expected.values(), vectors, strict=True):
            assert held[record.doc_id].vector.term_ids.tolist() == vector.term_ids.tolist()
            assert held[record.doc_id].vector.weights == pytest.approx(vector.weights, rel=1e-4)
        assert set(store.writes().values()) == {1}
    again = ingest_with_ray(tmp_path / "in.jsonl", url, "mini-bert", max_batch_documents=32, dead_letter=dead, workers=2)
    assert (again.read, again.written, again.unchanged, again.rejected) == (COUNT + 5, 0, COUNT, 5)
    with opened(url) as store:
        assert set(store.writes().values()) == {1}


@pytest.mark.slow
def test_it_goes_on_after_a_failure_and_after_a_run_in_one_process(cluster: None, url: str, tmp_path: Path) -> None:
    good = write_input(tmp_path / "in.jsonl", extra=['{"_id": "z", "text": "derruba"}'])
    with opened(url) as store:
        ingest(good[:50], store)
    with pytest.raises(StoreUnavailableError, match="went away"):
        ingest_with_ray(tmp_path / "in.jsonl", url, "mini-bert", max_batch_documents=32)
    write_input(tmp_path / "in.jsonl")
    report = ingest_with_ray(tmp_path / "in.jsonl", url, "mini-bert", max_batch_documents=32)
    assert report.read == COUNT + 5 and report.rejected == 5
    assert report.written + report.unchanged == COUNT and report.unchanged >= 50
    with opened(url) as store:
        assert store.writes() == {document["_id"]: 1 for document in good}


@pytest.mark.slow
def test_a_worker_is_killed_on_the_way_and_another_does_its_work(cluster: None, url: str, tmp_path: Path) -> None:
    good = documents(2000)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(document) + "\n" for document in good))
    killed: list[int] = []

    def kill_once(_: object) -> None:
        if not killed:
            killed.append(working()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = ingest_with_ray(tmp_path / "in.jsonl", url, "mini-bert", max_batch_documents=32, workers=2, progress=kill_once)
    assert killed
    assert (report.read, report.rejected, report.written + report.unchanged) == (2000, 0, 2000)
    assert report.reconciled is not None and report.reconciled.ok
    with opened(url) as store:
        assert store.writes() == {document["_id"]: 1 for document in good}


@pytest.mark.slow
def test_a_damaged_input_loads_what_came_before_the_damage(cluster: None, url: str, tmp_path: Path) -> None:
    import gzip

    whole = gzip.compress("".join(json.dumps(document) + "\n" for document in documents(2000)).encode())
    (tmp_path / "in.jsonl.gz").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(InputFileError, match="ends early"):
        ingest_with_ray(tmp_path / "in.jsonl.gz", url, "mini-bert", max_batch_documents=32)
    with opened(url) as store:
        assert 0 < store.count() < 2000


@pytest.mark.slow
def test_the_command_loads_a_server(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_input(tmp_path / "in.jsonl")
    monkeypatch.setenv("SPLADE_PTBR_STATE", str(tmp_path / "state"))
    with stand_in() as server:
        arguments = ["ingest", str(tmp_path / "in.jsonl"), "--store", f"qdrant+{server.url}/leis", "--engine", "ray", "--json"]
        arguments += ["--setting", "datatype=float16"]
        one = ["--workers", "1"]  # each takes seconds of two cores to start
        codes = [run([*arguments, "--tenant", tenant, *workers]) for tenant, workers in (("a", []), ("a", one), ("b", one))]
        decoder, text = json.JSONDecoder(), capsys.readouterr().out
        reports = []
        while text.strip():
            report, end = decoder.raw_decode(text.lstrip())
            reports.append(report)
            text = text.lstrip()[end:]
        sparse = server.client.get_collection("leis").config.params.sparse_vectors["splade"]
        assert sparse.index.datatype == "float16"
        assert server.client.count("leis").count == 2 * (COUNT + 1)  # this server takes the one that the other store refuses
    assert codes == [7, 7, 7]
    assert [(report["written"], report["unchanged"], report["rejected"]) for report in reports] == [
        (COUNT + 1, 0, 4),
        (0, COUNT + 1, 4),
        (COUNT + 1, 0, 4),
    ]
    assert len({report["dead_letter"] for report in reports}) == 2
    assert all(report["documents"] == COUNT + 1 and report["reconciled"]["ok"] for report in reports)


# -- without a cluster -------------------------------------------------------------------------------------------------


def test_rows_carry_every_record_with_its_line(tmp_path: Path) -> None:
    good = write_input(tmp_path / "in.jsonl")
    outcome = Outcome()
    ready = ReadyVectors(100, "f" * 64)
    texts = [text for table in batches(open_source(tmp_path / "in.jsonl"), ready, 7) for text in table[COLUMN]]
    rows = [row for text in texts for row in read_batch(text, outcome)]
    assert len(texts) == -(-(COUNT + 5) // 7)
    assert [row.raw for row in rows if row.raw["text"] != "recusado"] == good
    assert [row.line for row in rows] == [n for n in range(1, COUNT + 5) if n not in (101, 102, 103)]
    assert [line for line, _, _ in outcome.rejected] == [101, 102, 103, COUNT + 5]
    assert Outcome.from_text(outcome.to_table()[COLUMN][0]).to_table() == outcome.to_table()


def test_documents_without_a_dense_vector_are_told_by_a_load_that_stops_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [{"_id": f"d{n}", "text": f"texto {n}"} | ({"dense": [1.0, 2.0]} if n < 7 else {}) for n in range(10)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    with open_store(f"edge:{tmp_path / 'store'}", encoder=HashingEncoder(), settings={"dense_size": 2}) as store:
        worker, ready = Worker(lambda: store), ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint)
        tables = [worker(table) for table in batches(open_source(tmp_path / "in.jsonl"), ready, 4)]
        outcomes = [Outcome.from_text(table[COLUMN][0]) for table in tables] + [Outcome(error=("IngestError", "the network went away"))]
        assert [outcome.without_dense for outcome in outcomes] == [0, 1, 2, 0]
        tally = _Tally(DeadLetter(None), Display(False, None), 0.0)
        with contextlib.closing(tally), pytest.raises(IngestError, match="the network went away"):
            _load(store, iter(outcomes), tally)
    assert [message for message in caplog.messages if message.startswith("documents written without a dense vector: 3, into edge:")]


def test_an_embedded_store_and_a_stream_are_refused(tmp_path: Path) -> None:
    write_input(tmp_path / "in.jsonl")
    with pytest.raises(ConfigError, match="one process"):
        ingest_with_ray(tmp_path / "in.jsonl", f"edge:{tmp_path / 'store'}")
    with pytest.raises(ConfigError, match="stream"):
        ingest_with_ray("-", "qdrant+http://localhost/c")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"workers": 0},
        {"workers": True},
        {"max_batch_documents": 0},
        {"max_batch_documents": 1.5},
        {"cpus_per_worker": -1},
        {"gpus_per_worker": "1"},
    ],
)
def test_bad_sizes_are_refused_before_anything_starts(tmp_path: Path, bad: dict[str, Any]) -> None:
    pytest.importorskip("ray")
    write_input(tmp_path / "in.jsonl")
    [name] = bad
    with pytest.raises(ConfigError, match=name):
        ingest_with_ray(tmp_path / "in.jsonl", "qdrant+http://127.0.0.1:1/c", **bad)
