"""Checkpoint and dead-letter file: what a later run takes over, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion import checkpoint as checkpoint_module
from splade_ptbr_connectors.ingestion import dead_letter
from splade_ptbr_connectors.ingestion.dead_letter import DeadLetter, dead_letter_line
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder


class Stop(Exception):
    """Stands for whatever ends a run."""


def _stopping(records: list[Any], after: int) -> Iterator[Any]:
    yield from records[:after]
    raise Stop


def _mixed(count: int) -> list[Any]:
    """Every fifth record is broken, every seventh a duplicate of the first."""
    first = documents(1)[0]
    return [{"_id": "broken"} if n % 5 == 4 else first if n % 7 == 6 else document for n, document in enumerate(documents(count))]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {"checkpoint": tmp_path / "run.checkpoint", "dead_letter": tmp_path / "run.dead.jsonl"}


def test_stopped_runs_add_up_to_one(store: Store, encoder: HashingEncoder, files: dict[str, Path], tmp_path: Path) -> None:
    records = _mixed(400)
    for after in (1, 57, 200, 390):
        with pytest.raises(Stop):
            ingest(_stopping(records, after), store, max_batch_documents=16, **files)
    report = ingest(records, store, max_batch_documents=16, **files)
    assert report.resumed_at == 390
    with open_store(f"edge:{tmp_path / 'unbroken'}", encoder=HashingEncoder()) as other:
        unbroken = ingest(records, other, dead_letter=tmp_path / "unbroken.jsonl")
        assert other.count() == store.count()
    varying = {"seconds", "documents_per_second", "dead_letter", "resumed_at", "reconciled"}
    assert {k: v for k, v in report.to_dict().items() if k not in varying} == {
        k: v for k, v in unbroken.to_dict().items() if k not in varying
    }
    assert files["dead_letter"].read_bytes() == (tmp_path / "unbroken.jsonl").read_bytes()
    assert encoder.texts_encoded == report.written
    assert not files["checkpoint"].exists()


def test_the_checkpoint_names_what_it_is_about(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(doc) + "\n" for doc in documents(10)) + "{")
    _stop(store, files, path)
    content = json.loads(files["checkpoint"].read_text())
    assert content["input"] == {"path": str(path.resolve()), "bytes": path.stat().st_size}
    assert content["run"]["model"] == "hashing"
    assert content["run"]["fingerprint"] == store.encoder.fingerprint
    assert content["run"]["store"] == store.url
    assert content["position"] == 11
    assert content["counts"]["written"] == 10
    assert content["counts"]["rejected"] == 1


def test_the_checkpoint_s_digest_stays_readable_by_other_versions(store: Store, files: dict[str, Path]) -> None:
    """It is over a line a record: the content hash, or the dead-letter line of a record that is not valid."""
    records = _mixed(40)
    with pytest.raises(Stop):
        ingest(_stopping(records, 40), store, **files)
    rejected = {json.loads(line)["line"]: line for line in files["dead_letter"].read_text().splitlines(keepends=True)}
    lines = [rejected.get(n) or Record.from_mapping(raw).content_hash for n, raw in enumerate(records, 1)]
    expected = hashlib.blake2b("".join(line + "\n" for line in lines).encode(), digest_size=16).hexdigest()
    assert json.loads(files["checkpoint"].read_text())["prefix"] == expected


def _stop(store: Store, files: dict[str, Path], records: Any) -> None:
    finish = store.finish_loading
    store.finish_loading = lambda: (_ for _ in ()).throw(Stop)  # type: ignore[method-assign]
    with pytest.raises(Stop):
        ingest(records, store, **files)
    store.finish_loading = finish  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "change",
    [
        lambda docs: docs[1:],
        lambda docs: [docs[1], docs[0], *docs[2:]],
        lambda docs: docs[:5],
        lambda docs: [docs[0] | {"text": "outro"}, *docs[1:]],
        lambda docs: [],
    ],
)
def test_another_input_is_refused(store: Store, files: dict[str, Path], change: Any) -> None:
    _stop(store, files, documents(10))
    kept = files["checkpoint"].read_bytes()
    with pytest.raises(errors.IngestError, match=r"another input.*pass restart=True"):
        ingest(change(documents(10)), store, **files)
    assert files["checkpoint"].read_bytes() == kept
    changed = change(documents(10))
    report = ingest(changed, store, restart=True, **files)
    assert (report.read, report.resumed_at) == (len(changed), 0)
    assert not files["checkpoint"].exists()


def test_an_input_that_grew_goes_on(store: Store, files: dict[str, Path]) -> None:
    _stop(store, files, documents(10))
    report = ingest(documents(15), store, **files)
    assert (report.resumed_at, report.read, report.written) == (10, 15, 15)
    assert_holds(store, documents(15))


def test_another_model_and_another_store_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder("first")) as store:
        _stop(store, files, documents(10))
    with (
        open_store(f"edge:{tmp_path / 'other'}", encoder=HashingEncoder("second")) as store,
        pytest.raises(errors.IngestError, match=r"another model .*'first'.*'second'.*restart=True"),
    ):
        ingest(documents(10), store, **files)
    with open_store(f"edge:{tmp_path / 'third'}", encoder=HashingEncoder("first")) as store:
        with pytest.raises(errors.IngestError, match=r"another store .*index.*third.*restart=True"):
            ingest(documents(10), store, **files)
        assert ingest(documents(10), store, restart=True, **files).written == 10


def test_a_store_deleted_and_made_anew_is_another_one(files: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    url = f"edge:{tmp_path / 'index'}"
    with open_store(url, encoder=HashingEncoder()) as store:
        _stop(store, files, documents(10))
    shutil.rmtree(tmp_path / "index")
    with open_store(url, encoder=HashingEncoder()) as store, pytest.raises(errors.IngestError, match="another store"):
        ingest(documents(10), store, **files)


@pytest.mark.parametrize("engine", ["edge", "numba"])
@pytest.mark.parametrize(
    "before",
    [[], documents(60, start=100), [{**document, "text": "antes"} for document in documents(60)]],
    ids=["nothing", "others", "earlier versions"],
)
def test_a_store_restored_from_a_backup_is_not_taken_to_hold_what_came_after(
    files: dict[str, Path], tmp_path: Path, engine: str, before: list[Any]
) -> None:
    """However many documents it holds: of the records before the checkpoint, those that the backup lacks would be missing for good."""
    url, backup, records = f"{engine}:{tmp_path / 'index'}", tmp_path / "backup", documents(60)
    with open_store(url, encoder=HashingEncoder()) as store:
        ingest(before, store, reconcile=0)
    shutil.copytree(tmp_path / "index", backup)
    with open_store(url, encoder=HashingEncoder()) as store, pytest.raises(Stop):
        ingest(_stopping(records, 40), store, max_batch_documents=8, **files)
    shutil.rmtree(tmp_path / "index")
    shutil.copytree(backup, tmp_path / "index")
    with open_store(url, encoder=HashingEncoder()) as store:
        with pytest.raises(errors.IngestError, match=r"Pass restart=True to start over"):
            ingest(records, store, **files)
        ingest(records, store, restart=True, **files)
        assert_holds(store, [*{document["_id"]: document for document in [*before, *records]}.values()])


def test_a_checkpoint_of_an_earlier_version_is_taken_up(store: Store, files: dict[str, Path]) -> None:
    _stop(store, files, documents(20))
    content = json.loads(files["checkpoint"].read_text())
    del content["last_written"]
    files["checkpoint"].write_text(json.dumps(content))
    assert ingest(documents(40), store, **files).resumed_at == 20


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"_id": "a", "text": "x"}\n', "\x00"])
def test_a_file_that_is_no_checkpoint_is_left_alone(store: Store, tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes"
    path.write_text(content)
    for restart in (False, True):
        with pytest.raises(errors.IngestError, match="checkpoint"):
            ingest(documents(1), store, checkpoint=path, restart=restart)
    assert path.read_text() == content


def test_a_damaged_checkpoint(store: Store, files: dict[str, Path]) -> None:
    _stop(store, files, documents(3))
    content = json.loads(files["checkpoint"].read_text())
    del content["position"]
    files["checkpoint"].write_text(json.dumps(content))
    with pytest.raises(errors.IngestError, match=r"is damaged.*restart=True"):
        ingest(documents(3), store, **files)


@pytest.mark.parametrize("content", ["important notes\n", '{"_id": "a", "text": "x"}\n', "[1]\n"])
def test_a_file_that_is_no_dead_letter_is_left_alone(store: Store, tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes"
    path.write_text(content)
    with pytest.raises(errors.IngestError, match="is not a dead-letter file"):
        ingest([{"_id": "a"}], store, dead_letter=path)
    assert path.read_text() == content
    assert store.count() == 0


def test_one_path_for_two_things_is_refused(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"_id": "a", "text": "x"}\n')
    (tmp_path / "link").symlink_to(source)
    for setting in ({"dead_letter": source}, {"checkpoint": tmp_path / "link"}):
        with pytest.raises(errors.IngestError, match="which is the input"):
            ingest(source, store, **setting)  # type: ignore[arg-type]
    with pytest.raises(errors.IngestError, match="which is the checkpoint"):
        ingest(source, store, checkpoint=tmp_path / "x", dead_letter=tmp_path / "x")


@pytest.mark.parametrize("name", ["checkpoint", "dead_letter"])
def test_paths_that_cannot_be_written(store: Store, tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "no" / "folder" / "x", tmp_path):
        with pytest.raises(errors.IngestError, match=r"cannot (read|write)|not a regular file"):
            ingest([{"_id": "a"}], store, **{name: path})  # type: ignore[arg-type]


def test_a_dead_letter_that_was_cut_is_noticed(store: Store, files: dict[str, Path]) -> None:
    _stop(store, files, _mixed(20))
    files["dead_letter"].write_text("")
    with pytest.raises(errors.IngestError, match=r"shorter than its checkpoint.*restart=True"):
        ingest(_mixed(20), store, **files)


def test_checkpoints_are_saved_as_time_passes(store: Store, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint_module, "MAX_SHARE", 1e9)
    positions: list[int] = []

    def watched() -> Iterator[Any]:
        for n, document in enumerate(documents(500)):
            if n % 50 == 0 and files["checkpoint"].exists():
                positions.append(json.loads(files["checkpoint"].read_text())["position"])
            yield document

    ingest(watched(), store, max_batch_documents=20, **files)
    assert positions and positions == sorted(positions) and len(set(positions)) > 3


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ({"a": "ç"}, {"a": "ç"}),
        ({"a": float("nan")}, "{'a': nan}"),
        ({"a": {1}}, "{'a': {1}}"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\ud800", "\ud800"),
        (b"x", "b'x'"),
    ],
)
def test_dead_lines_are_json_whatever_the_record(record: Any, kept: Any) -> None:
    assert json.loads(dead_letter_line(3, "why", record)) == {"line": 3, "reason": "why", "record": kept}


def test_dead_lines_of_odd_objects() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert json.loads(dead_letter_line(1, "why", Odd()))["record"] == "<Odd that cannot be shown: RuntimeError>"
    loop: list[Any] = []
    loop.append(loop)
    assert json.loads(dead_letter_line(1, "why", loop))["record"] == "[[...]]"
    assert len(dead_letter_line(1, "why", "x" * 10_000_000)) > 10_000_000
    assert len(dead_letter_line(1, "why", "x" * 50_000_000)) < 34_000_000


def test_a_run_without_a_file_keeps_no_more_rejections_than_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter, "MAX_KEPT_CHARACTERS", 100)
    rejections = DeadLetter(None)
    for n in range(10):
        rejections.append([dead_letter_line(n, "why", "x" * 40)])
    assert [each["line"] for each in rejections.kept] == [0, 1]
