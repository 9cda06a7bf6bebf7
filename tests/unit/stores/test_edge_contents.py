"""What an edge store knows about what it holds: damage is told, a kill is not damage, a good copy is a good store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.stores.edge import EdgeStore, contents, repair, seal
from splade_ptbr_connectors.stores.edge.checks import Tally
from splade_ptbr_connectors.stores.edge.ledger import Ledger
from splade_ptbr_connectors.stores.model_stamp import write_sidecar
from splade_ptbr_connectors.stores.payloads import point_id
from splade_ptbr_connectors.vectors import SparseVector
from tests.faults.injection import copy_store
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1, 7], [0.5, 0.25])
ENTRIES = [Entry(f"d{n}", VECTOR, {"n": n, "half": n + 0.1}, f"{n:032x}") for n in range(20)]


class Word(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


def opened(url: str, **options: Any) -> EdgeStore:
    store = open_store(url, encoder=HashingEncoder(), **options)
    assert isinstance(store, EdgeStore)
    return store


def folder_of(url: str) -> Path:
    return Path(url.removeprefix("edge:"))


def filled(url: str) -> Path:
    with opened(url) as store:
        store.upsert_vectors(ENTRIES)
    return folder_of(url)


def killed(store: EdgeStore, to: Path) -> str:
    """A copy of the store as a kill would leave it now."""
    copy_store(folder_of(store.url), to)
    return f"edge:{to}"


def state(folder: Path) -> Any:
    return json.loads((folder / "splade-store.json").read_text())["contents"]["state"]


@pytest.mark.parametrize("create", [True, False])
def test_a_missing_shard_is_not_made_anew(url: str, create: bool) -> None:
    shutil.rmtree(filled(url) / "shard")
    with pytest.raises(errors.StoreCorruptError, match=r"'shard' of the store .* is missing"):
        opened(url, create=create)
    assert not (folder_of(url) / "shard").exists()


def test_reading_leaves_the_seal(url: str) -> None:
    folder = filled(url)
    before = (folder / "splade-store.json").read_bytes()
    assert state(folder) == "sealed"
    with opened(url) as store:
        assert store.count() == 20 and len(store.search(VECTOR)) == 10
        assert state(folder) == "sealed"
        store.upsert_vectors([ENTRIES[0]])
        assert state(folder) == "open"
        store.finish_loading()
        assert state(folder) == "sealed"
    assert json.loads(before)["contents"]["digest"] == json.loads((folder / "splade-store.json").read_text())["contents"]["digest"]


def test_a_copy_is_a_good_store(url: str, tmp_path: Path) -> None:
    shutil.copytree(filled(url), tmp_path / "copy")  # without holes, with other times
    with opened(f"edge:{tmp_path / 'copy'}") as store:
        assert store.count() == 20


REPLACED = ENTRIES[1]._replace(payload={"n": -1})


@pytest.mark.parametrize("entries", [ENTRIES[10:], ENTRIES[10:11], [REPLACED]], ids=["many", "one", "replaced"])
def test_acknowledged_writes_that_are_gone_after_a_kill(url: str, tmp_path: Path, entries: list[Entry]) -> None:
    with opened(url) as store:
        store.upsert_vectors(ENTRIES[:10])
        before = killed(store, tmp_path / "before")
        store.upsert_vectors(entries)
        after = killed(store, tmp_path / "after")
        killed(store, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "shard")
    copy_store(tmp_path / "before" / "shard", tmp_path / "gone" / "shard")
    for survivor, held in ((before, ENTRIES[:10]), (after, [*ENTRIES[:10], *entries])):
        with opened(survivor) as store:
            assert {entry.doc_id: entry for entry in store.scan()} == {entry.doc_id: entry for entry in held}
    with pytest.raises(errors.StoreCorruptError, match=r"holds 10 documents.* were acknowledged; repair it"):
        opened(f"edge:{tmp_path / 'gone'}")
    assert repair(tmp_path / "gone").documents == 10
    with opened(f"edge:{tmp_path / 'gone'}") as store:
        assert store.count() == 10


@pytest.mark.parametrize("operation", ["upsert", "replace", "delete", "delete_where"])
@pytest.mark.parametrize("done", [True, False])
def test_a_kill_around_the_write_of_the_engine(
    url: str, tmp_path: Path, operation: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the engine's write, and between it and the note that it is done: both are good stores."""

    def stop(ledger: Ledger, *arguments: Any, **options: Any) -> None:
        if options["done"] is done:
            raise KeyboardInterrupt
        write(ledger, *arguments, **options)

    write = Ledger.write
    with opened(url) as store:
        store.upsert_vectors(ENTRIES)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Ledger, "write", stop)
            {
                "upsert": lambda: store.upsert_vectors([("new", VECTOR)]),
                "replace": lambda: store.upsert_vectors([("d3", VECTOR, {"n": -1})]),
                "delete": lambda: store.delete(["d3", "d4"]),
                "delete_where": lambda: store.delete_where({"n": {"lt": 5}}),
            }[operation]()
        after_kill = killed(store, tmp_path / "copy")
        store.upsert_vectors([("later", VECTOR)])  # the handle goes on
        held = store.count()
    with opened(after_kill) as store:
        expected = {"upsert": 21, "replace": 20, "delete": 18, "delete_where": 15}[operation] if done else 20
        assert store.count() == expected == held - 1
    with opened(url) as store:
        assert store.count() == held and state(folder_of(url)) == "sealed"


def test_a_store_of_an_older_version_is_taken_as_it_is(url: str) -> None:
    folder = filled(url)
    sidecar = json.loads((folder / "splade-store.json").read_text())
    del sidecar["contents"]
    (folder / "splade-store.json").write_text(json.dumps(sidecar))
    (folder / "splade-ledger").unlink()
    with opened(url) as store:
        assert store.count() == 20
    assert state(folder) == "sealed"


def test_another_version_of_the_engine_may_change_the_files(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(url)
    monkeypatch.setattr(contents, "ENGINE", "0.10.0")
    with opened(url) as store:
        assert store.count() == 20 and state(folder) == "open"
    assert state(folder) == "sealed"
    with opened(url):
        assert state(folder) == "sealed"


@pytest.mark.parametrize("after", [True, False])
def test_an_interrupt_around_the_writing_of_the_seal(url: str, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any) -> None:
        if after:
            write_sidecar(*arguments)
        raise KeyboardInterrupt

    with opened(url) as store:
        store.upsert_vectors(ENTRIES[:10])
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(contents, "write_sidecar", stop)
            store.finish_loading()
        store.upsert_vectors(ENTRIES[10:])
        copy = killed(store, tmp_path / "copy")
    with opened(copy) as store:
        assert store.count() == 20


def test_a_repair_that_was_cut_off_goes_on(url: str) -> None:
    folder = filled(url)
    with opened(f"edge:{folder.with_name('good')}") as store:
        store.upsert_vectors(ENTRIES)
    (folder.with_name("good") / "shard").rename(folder / "shard.repaired")
    (folder / "shard").rename(folder / "shard.set-aside-1")
    with pytest.raises(errors.StoreCorruptError, match="is missing"):
        opened(url)
    assert repair(folder).documents == 20
    with opened(url) as store:
        assert store.count() == 20


def test_altered_contents_of_the_sidecar(url: str) -> None:
    path = filled(url) / "splade-store.json"
    path.write_text(path.read_text().replace('"documents": 20', '"documents": 21'))
    with pytest.raises(errors.StoreCorruptError, match="was altered"):
        opened(url)
    assert repair(folder_of(url))[0::2] == (20, 0)
    with opened(url) as store:
        assert store.count() == 20


def altered_in_place(store: EdgeStore, **fields: Any) -> None:
    """As a flipped bit in the engine's files would: behind the back of the store."""
    with store._edge.use("damage") as shard:
        shard.update(qdrant_edge.UpdateOperation.set_payload([point_id("d3")], fields))


def test_an_altered_document_is_told_and_left_out_by_repair(url: str) -> None:
    with opened(url) as store:
        store.upsert_vectors(ENTRIES)
        altered_in_place(store, n=-3)
        for read in (lambda: store.get(["d3"]), lambda: list(store.scan()), lambda: store.search(VECTOR, 20)):
            with pytest.raises(errors.StoreCorruptError, match=r"document 'd3' .* has changed on the disk.*repair\(path\)"):
                read()
        assert set(store.get(["d2", "d4"])) == {"d2", "d4"}
    path = folder_of(url) / "shard" / "edge_config.json"
    path.write_text(path.read_text() + " ")
    done = repair(folder_of(url))
    assert (done.documents, done.damaged) == (19, 1) and done.set_aside == folder_of(url) / "shard.set-aside-1"
    with opened(url) as store:
        assert {entry.doc_id: entry for entry in store.scan()} == {entry.doc_id: entry for entry in ENTRIES if entry.doc_id != "d3"}


def test_an_id_that_is_not_the_points_own(url: str) -> None:
    with opened(url) as store:
        store.upsert_vectors(ENTRIES)
        altered_in_place(store, _id="d4")
        for read in (lambda: list(store.scan(with_vectors=False)), lambda: store.content_hashes(["d3"])):
            with pytest.raises(errors.StoreCorruptError, match="has changed on the disk"):
                read()


@pytest.mark.parametrize("call", ["finish_loading", "close"])
def test_a_folder_that_was_removed_while_it_was_open(url: str, call: str) -> None:
    store = opened(url)
    store.upsert_vectors(ENTRIES)
    shutil.rmtree(folder_of(url))
    with pytest.raises(errors.StoreError):
        getattr(store, call)()
    if call != "close":
        with pytest.raises(errors.StoreError):
            store.close()


@pytest.mark.parametrize("copied", [False, True], ids=["another store", "an earlier copy"])
def test_a_folder_that_was_replaced_while_it_was_open(url: str, tmp_path: Path, copied: bool) -> None:
    """Nothing is acknowledged that goes nowhere, and nothing is written into what stands there now."""
    shutil.copytree(filled(url if copied else f"edge:{tmp_path / 'other'}"), tmp_path / "new")
    store = opened(url)
    store.upsert_vectors(Entry(f"late{n}", VECTOR) for n in range(7))
    shutil.rmtree(folder_of(url))
    (tmp_path / "new").rename(folder_of(url))
    before = {path: path.read_bytes() for path in folder_of(url).rglob("*") if path.is_file()}
    for act in (lambda: store.upsert_vectors(ENTRIES[:1]), lambda: store.delete(["d1"]), store.flush, store.finish_loading, store.count):
        with pytest.raises(errors.StoreCorruptError, match="was replaced while it was open"):
            act()
    store.close()
    assert {path: path.read_bytes() for path in folder_of(url).rglob("*") if path.is_file()} == before
    with opened(url) as store:
        assert {entry.doc_id for entry in store.scan()} == {entry.doc_id for entry in ENTRIES}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_cannot_touch_the_store_of_its_parent(url: str) -> None:
    with opened(url) as store:
        store.upsert_vectors(ENTRIES[:1])
        child = os.fork()
        if child == 0:
            os._exit(_refusals(store))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0b111
        store.upsert_vectors(ENTRIES[1:2])
        with pytest.raises(errors.StoreLockedError, match="one process at a time"):
            opened(url)
    with opened(url) as store:
        assert sorted(entry.doc_id for entry in store.scan()) == ["d0", "d1"]


def _refusals(store: EdgeStore) -> int:
    refused = 0
    for bit, use in enumerate((store.count, lambda: store.upsert_vectors(ENTRIES[2:3]), lambda: store.search(VECTOR))):
        try:
            use()
        except errors.StoreLockedError as error:
            refused |= ("forked child" in str(error)) << bit
    store.close()
    store._edge._shard = None  # what the end of the process would do
    return refused


# -- the parts ---------------------------------------------------------------------------------------------------------

FIELDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | FIELDS
VALUES = st.recursive(
    SCALARS | st.sampled_from([Word.A, Number.ONE]), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(FIELDS.filter(lambda name: name[:1] != "_"), VALUES, max_size=4), min_size=1, max_size=5))
def test_no_good_document_is_called_altered(shared_store: Store, payloads: list[dict[str, Any]]) -> None:
    shared_store.upsert_vectors([(f"p{n}", VECTOR, payload) for n, payload in enumerate(payloads)])
    assert len(shared_store.get([f"p{n}" for n in range(len(payloads))])) == len(payloads)
    shared_store.search(VECTOR, 100)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with opened(f"edge:{tmp_path_factory.mktemp('edge') / 'index'}") as store:
        yield store


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 2**64 - 1)), st.dictionaries(st.text(min_size=1), st.integers(0, 2**64 - 1)))
def test_a_tally_does_not_depend_on_the_order(first: dict[str, int], second: dict[str, int]) -> None:
    both = Tally().plus(first).plus(second)
    assert both == Tally().plus(second).plus(first)
    assert both.without(first) == Tally().plus(second)
    digests = [hashlib.blake2b(f"{point} {check}".encode(), digest_size=8).digest() for point, check in [*first.items(), *second.items()]]
    assert both.digest == sum([int.from_bytes(digest, "little") for digest in digests]) % 2**64  # as in the sidecars of filled stores


def test_a_torn_ledger_is_that_of_the_write_before(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "edge:x")
    assert ledger.read("store") == ()
    first, second, third = Tally(1, 11), Tally(2, 22), Tally(3, 33)
    ledger.write("store", first, second, done=True)
    assert ledger.read("store") == (second,)
    ledger.write("store", second, third, done=False)
    assert ledger.read("store") == (second, third)
    assert ledger.read("another") == ()
    content = bytearray((tmp_path / "splade-ledger").read_bytes())
    content[content.index(b"33")] ^= 1
    (tmp_path / "splade-ledger").write_bytes(content)
    assert ledger.read("store") == (second,)
    with pytest.raises(errors.StoreLockedError, match=r"numba:FOLDER"):
        Ledger(tmp_path, "edge:x")
    ledger.release()
    ledger.release()
    Ledger(tmp_path, "edge:x").release()


@pytest.mark.parametrize("whole", [True, False])
def test_a_seal_sees_every_change_but_not_holes(tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not whole:
        monkeypatch.setattr(seal, "READ_WHOLE", 0)
        monkeypatch.setattr(seal, "LARGE", 1)
    shard = tmp_path / "shard"
    (shard / "part").mkdir(parents=True)
    file = shard / "part" / "page.dat"
    with open(file, "wb") as made:
        made.seek(700_000)
        made.write(b"abc")
        made.truncate(2_000_000)
    (shard / "empty").touch()
    known = seal.sealed(shard)
    assert seal.broken(shard, known) is None
    content = file.read_bytes()
    file.write_bytes(content)
    assert seal.broken(shard, known) is None  # zeros where there were holes
    for place in (0, 699_999, 700_001, 1_999_999):
        changed = bytearray(content)
        changed[place] ^= 4
        file.write_bytes(changed)
        assert seal.broken(shard, known) == "part/page.dat has changed"
    for other in (content[:-1], content + b"\0", content[:700_000] + b"\0abc" + content[700_004:]):
        file.write_bytes(other)
        assert seal.broken(shard, known) == "part/page.dat has changed"
    file.write_bytes(content)
    (shard / "part" / "new").touch()
    assert seal.broken(shard, known) == "part/new is not part of it"
    (shard / "part" / "new").unlink()
    (shard / "empty").unlink()
    assert seal.broken(shard, known) == "empty is missing"


def test_large_files_that_were_not_touched_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "READ_WHOLE", 0)
    monkeypatch.setattr(seal, "LARGE", 1)
    (tmp_path / "page.dat").write_bytes(b"abc")
    known = seal.sealed(tmp_path)
    monkeypatch.setattr(seal, "_checksum", lambda *_: pytest.fail("read"))
    assert seal.broken(tmp_path, known) is None
