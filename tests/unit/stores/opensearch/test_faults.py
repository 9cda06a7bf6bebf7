"""Faults on the wire: whatever happens to a request, nothing is lost, nothing doubled, nothing tried that cannot help."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import exceptions

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from splade_ptbr_connectors.stores.opensearch.failures import read_failure, retry_after_s
from splade_ptbr_connectors.vectors import SparseVector
from tests.unit.stores.opensearch.conftest import Open
from tests.unit.stores.opensearch.stand_in import Fault, StandIn

VECTOR = SparseVector([1, 7], [0.5, 0.25])
TEN = [(f"d{n}", VECTOR, {"n": n}) for n in range(10)]
IDS = [f"d{n}" for n in range(10)]
IMPATIENT = {"load_timeout_s": 0.5, "timeout_s": 0.5}

RETRIED = {
    "429": Fault(status=429),
    "502": Fault(status=502, body=b"<html>Bad Gateway</html>"),
    "503": Fault(status=503),
    "503 after it was applied": Fault(status=503, served=True),
    "504 after it was applied": Fault(status=504, body=b"", served=True),
    "time-out": Fault(status=200, delay_s=1.0),
    "time-out after it was applied": Fault(delay_s=1.0),
    "reset": Fault(reset=True, status=200),
    "reset after it was applied": Fault(reset=True),
    "no JSON": Fault(status=200, body=b"<html>OK</html>", served=True),
    "half a JSON": Fault(status=200, body=b'{"errors":false,"items":[{"ind', served=True),
    "no items": Fault(status=200, body=b'{"errors":false}', served=True),
    "empty": Fault(status=200, body=b"", served=True),
    "a list": Fault(status=200, body=b"[]", served=True),
    "items that say nothing": Fault(status=200, body=b'{"errors":false,"items":[1,null,{},{"index":{}},{"index":3}]}', served=True),
}


@pytest.mark.parametrize("name", RETRIED)
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asynchronous"])
def test_a_load_survives(opening: Open, server: StandIn, name: str, blocking: bool) -> None:
    store = opening(settings=IMPATIENT if "time-out" in name else {})
    server.fail("_bulk", RETRIED[name])
    assert load(store, blocking) == []
    assert sorted(server.documents) == IDS
    sent = [ids for _, _, ids in server.bulks]
    assert sent[:2] == [IDS, IDS]
    assert sent[2:] == [] or "time-out" in name  # a machine may be too slow for the second attempt as well


def load(store: OpenSearchStore, blocking: bool) -> Any:
    if blocking:
        return store.load(TEN)

    async def run() -> Any:
        try:
            return await store.aload(TEN)
        finally:
            await store.aclose()

    return asyncio.run(run())


def test_only_what_was_rejected_is_sent_again(store: OpenSearchStore, server: StandIn) -> None:
    server.fail("_bulk", Fault(item_status=(429, 503, 429)), Fault(item_status=(429,)), Fault())
    assert store.load(TEN) == []
    assert [ids for _, _, ids in server.bulks] == [IDS, IDS[:3], IDS[:1]]
    assert sorted(server.documents) == IDS


def test_outcomes_that_are_missing_count_as_not_written(store: OpenSearchStore, server: StandIn) -> None:
    server.fail("_bulk", Fault(items=7), Fault(items=0))
    assert store.load(TEN) == []
    assert [ids for _, _, ids in server.bulks] == [IDS, IDS[7:], IDS[7:]]


def test_a_refused_document_stops_no_other(store: OpenSearchStore, server: StandIn) -> None:
    server.fail("_bulk", Fault(item_status=(400, 429, 500)))
    refusals = store.load(TEN)
    assert [(refusal.doc_id, refusal.reason) for refusal in refusals] == [("d0", "rejected with 400"), ("d2", "rejected with 500")]
    assert sorted(server.documents) == ["d1", *IDS[3:]]
    assert [ids for _, _, ids in server.bulks] == [IDS, ["d1"]]
    server.fail("_bulk", Fault(item_status=(400,)))
    with pytest.raises(errors.StoreRefusedError, match="refused 1 documents, first 'd0'") as caught:
        store.upsert_vectors(TEN)
    assert caught.value.refusals == (("d0", "rejected with 400"),)


def test_a_load_that_never_gets_through_is_an_error_and_not_a_silence(opening: Open, server: StandIn, ticking: None) -> None:
    store = opening(settings={"load_deadline_s": 0.6})
    server.fail("_bulk", *[Fault(item_status=(429,)) for _ in range(100)])
    with pytest.raises(
        errors.StoreUnavailableError, match=r"1 documents were not accepted \(rejected with 429\).*given up after \d+ attempts"
    ):
        store.load(TEN)
    assert sorted(server.documents) == IDS[1:]


@pytest.mark.parametrize(("status", "error"), [(401, errors.StoreAccessError), (403, errors.StoreAccessError), (400, errors.StoreError)])
def test_what_cannot_help_is_not_tried_again(store: OpenSearchStore, server: StandIn, status: int, error: type[Exception]) -> None:
    server.fail("_bulk", Fault(status=status))
    server.fail("_search", Fault(status=status))
    for use in (lambda: store.load(TEN), lambda: store.search(VECTOR)):
        before = len(server.seen)
        with pytest.raises(error, match=f"status {status}: because") as caught:
            use()
        assert type(caught.value) is error
        assert len([path for _, path in server.seen[before:] if path.endswith(("_bulk", "_search"))]) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"type":"cluster_block_exception","reason":"disk usage exceeded flood-stage watermark"}}', errors.StoreWriteError),
        (b'{"error":{"type":"security_exception","reason":"no permissions"}}', errors.StoreAccessError),
    ],
)
def test_a_server_that_takes_no_writes(store: OpenSearchStore, server: StandIn, body: bytes, error: type[Exception]) -> None:
    server.fail("_bulk", Fault(status=403, body=body))
    with pytest.raises(error):
        store.load(TEN)
    assert len(server.bulks) == 1


FLOOD = {
    "type": "cluster_block_exception",
    "reason": "index [laws] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete "
    "block];",
}
ELECTION = {"type": "cluster_block_exception", "reason": "blocked by: [SERVICE_UNAVAILABLE/2/no cluster-manager];"}


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("whole", [True, False], ids=["request", "items"])
def test_a_full_disk_is_not_waited_for(store: OpenSearchStore, server: StandIn, status: int, whole: bool) -> None:
    body = json.dumps({"error": FLOOD}).encode()
    server.fail("_bulk", Fault(status=status, body=body) if whole else Fault(item_status=(status,) * 3, item_error=FLOOD))
    with pytest.raises(errors.StoreWriteError, match=r"flood-stage watermark.*free disk space or lift the block, then run it again"):
        store.load(TEN)
    assert len(server.bulks) == 1
    assert store.load(TEN) == []


def test_a_cluster_that_elects_is_waited_for(store: OpenSearchStore, server: StandIn) -> None:
    electing = Fault(status=503, body=json.dumps({"error": ELECTION}).encode())
    server.fail("_bulk", electing, Fault(item_status=(503,) * 3, item_error=ELECTION))
    assert store.load(TEN) == []
    assert [ids for _, _, ids in server.bulks] == [IDS, IDS, IDS[:3]]
    server.fail("_search", electing)
    assert len(store.search(VECTOR)) == 10


def test_a_server_that_may_not_create_an_index_says_so_as_a_full_disk(opening: Open, server: StandIn) -> None:
    blocked = {"type": "index_create_block_exception", "reason": "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];"}
    server.fail("/laws", Fault(), Fault(status=403, body=json.dumps({"error": blocked}).encode()))
    with pytest.raises(errors.StoreWriteError, match=r"create-index blocked.*free disk space"):
        opening()


GONE = {"type": "node_not_connected_exception", "reason": "[node-2][127.0.0.1:45541] Node not connected"}


def test_a_node_that_has_just_died_is_no_refusal(store: OpenSearchStore, server: StandIn) -> None:
    failed = {"type": "search_phase_execution_exception", "reason": "", "root_cause": [GONE], "failed_shards": [{"reason": GONE}]}
    server.fail("_search", Fault(status=500, body=json.dumps({"error": failed}).encode()))
    server.fail("_bulk", Fault(item_status=(500, 500), item_error=GONE))
    assert store.load(TEN) == []
    assert [ids for _, _, ids in server.bulks] == [IDS, IDS[:2]]
    assert len(store.search(VECTOR)) == 10
    assert not server.faults["_search"]


def test_a_cluster_that_stays_without_a_manager_is_no_full_disk(opening: Open, server: StandIn, ticking: None) -> None:
    store = opening(settings={"load_deadline_s": 0.3, "deadline_s": 0.3})
    electing = Fault(status=503, body=json.dumps({"error": ELECTION}).encode())
    server.fail("_bulk", *[Fault(item_status=(503,), item_error=ELECTION)] * 100)
    server.fail("_search", *[electing] * 100)
    for use in (lambda: store.load(TEN), lambda: store.search(VECTOR)):
        with pytest.raises(errors.StoreUnavailableError, match=r"no cluster-manager.*see that every node of the cluster runs"):
            use()


# -- 413 ---------------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_halved_until_it_fits(store: OpenSearchStore, server: StandIn) -> None:
    entries = [(f"d{n}", VECTOR, {"text": "x" * 1000}) for n in range(16)]
    server.max_bytes = 5000
    assert store.load(entries) == []
    assert sorted(server.documents) == sorted(doc_id for doc_id, *_ in entries)
    tried = len(server.bulks)
    assert store.load(entries) == []
    assert all(size <= server.max_bytes for _, size, _ in server.bulks[tried:])  # learned


def test_a_document_that_is_too_large_alone_is_refused_and_the_rest_is_stored(store: OpenSearchStore, server: StandIn) -> None:
    entries = [(f"d{n}", VECTOR, {"text": "x" * (20_000 if n == 5 else 100)}) for n in range(16)]
    server.max_bytes = 10_000
    [refusal] = store.load(entries)
    assert refusal.doc_id == "d5"
    assert "more than the server takes" in refusal.reason
    assert sorted(server.documents) == sorted({f"d{n}" for n in range(16)} - {"d5"})


def test_bodies_are_cut_at_the_given_size(opening: Open, server: StandIn) -> None:
    store = opening(settings={"max_request_bytes": 3000})
    store.load([(f"d{n}", VECTOR, {"text": "x" * 500}) for n in range(20)])
    assert len(server.documents) == 20
    assert all(size <= 3000 for _, size, _ in server.bulks)
    store.load([("large", VECTOR, {"text": "x" * 5000})])
    assert "large" in server.documents


# -- Retry-After -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asynchronous"])
def test_the_server_is_left_alone_for_as_long_as_it_asks(store: OpenSearchStore, server: StandIn, blocking: bool) -> None:
    server.fail("_bulk", Fault(status=429, headers={"Retry-After": "1"}))
    load(store, blocking)
    (first, *_), (second, *_) = server.bulks
    assert second - first >= 1.0


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert retry_after_s("7") == 7.0
    assert retry_after_s("0.5") == 0.5
    in_a_minute = retry_after_s(email.utils.formatdate(time.time() + 60, usegmt=True))
    assert in_a_minute is not None
    assert 50 < in_a_minute <= 60
    assert retry_after_s(email.utils.formatdate(time.time() - 60, usegmt=True)) == 0.0
    for nothing in (None, "", "soon", "nan", "inf"):
        assert retry_after_s(nothing) is None
    assert retry_after_s("-3") == 0.0


# -- reads -------------------------------------------------------------------------------------------------------------

PARTIAL = [
    b'{"_shards":{"total":3,"failed":1},"timed_out":false,"hits":{"hits":[]},"count":1}',
    b'{"_shards":{"total":3,"failed":0},"timed_out":true,"hits":{"hits":[]},"count":1}',
    b"{}",
]


READS: dict[str, Callable[[OpenSearchStore], object]] = {
    "_search": lambda store: store.search(VECTOR),
    "_count": lambda store: store.count(),
    "point_in_time": lambda store: list(store.scan()),
    "_refresh": lambda store: (store.load(TEN), store.count()),
}


@pytest.mark.parametrize(("path", "body"), [(path, body) for path in READS for body in PARTIAL if (path, body) != ("_refresh", PARTIAL[1])])
def test_a_part_is_never_taken_for_the_whole(opening: Open, server: StandIn, body: bytes, path: str, ticking: None) -> None:
    store = opening(settings={"deadline_s": 0.3})
    server.fail(path, *[Fault(status=200, body=body)] * 100)
    with pytest.raises(errors.StoreUnavailableError, match="given up after"):
        READS[path](store)
    server.faults.clear()
    READS[path](store)


@pytest.mark.parametrize("path", ["_search", "_count", "point_in_time"])
def test_a_shard_of_which_no_copy_runs_is_neither_asked_nor_failed_and_missed_all_the_same(
    opening: Open, server: StandIn, path: str, ticking: None
) -> None:
    store = opening(settings={"deadline_s": 0.3})
    body = b'{"_shards":{"total":3,"successful":2,"failed":0},"timed_out":false,"hits":{"hits":[]},"count":1,"pit_id":"p"}'
    server.fail(path, *[Fault(status=200, body=body)] * 100)
    with pytest.raises(errors.StoreUnavailableError, match=r"1 of 3 shards of .* have no copy that runs"):
        READS[path](store)


def test_copies_that_do_not_run_are_no_reason_to_refuse_a_refresh(store: OpenSearchStore, server: StandIn) -> None:
    server.fail("_refresh", Fault(status=200, body=b'{"_shards":{"total":6,"successful":4,"failed":0}}'))
    READS["_refresh"](store)
    assert not server.faults["_refresh"]


@pytest.mark.parametrize("path", READS)
def test_a_shard_that_answers_at_the_next_attempt_is_waited_for(store: OpenSearchStore, server: StandIn, path: str) -> None:
    server.fail(path, *[Fault(status=200, body=PARTIAL[0])] * 2)
    READS[path](store)
    assert not server.faults[path]


def test_a_document_that_cannot_be_looked_for_is_not_a_missing_one(opening: Open, server: StandIn, ticking: None) -> None:
    store = opening(settings={"deadline_s": 2.0})
    store.load(TEN)
    error = {"type": "no_shard_available_action_exception", "reason": "No shard available for [get [laws][d0]: routing [null]]"}
    away = Fault(status=200, body=json.dumps({"docs": [{"_index": "laws", "_id": "d0", "error": error}]}).encode())
    server.fail("_mget", away, away)
    assert sorted(store.get(IDS)) == IDS
    server.fail("_mget", *[away] * 100)
    with pytest.raises(errors.StoreUnavailableError, match=r"No shard available.*see that every node of the cluster runs"):
        store.get(IDS)
    server.faults.clear()
    error["type"] = "index_not_found_exception"
    server.fail("_mget", Fault(status=200, body=json.dumps({"docs": [{"_index": "laws", "_id": "d0", "error": error}]}).encode()))
    with pytest.raises(errors.StoreNotFoundError, match="deleted or replaced"):
        store.get(IDS)


def test_own_writes_are_seen_after_a_refresh_that_failed(store: OpenSearchStore, server: StandIn) -> None:
    store.load(TEN)
    server.fail("_refresh", Fault(status=500))
    with pytest.raises(errors.StoreError):
        store.search(VECTOR)
    store.search(VECTOR)
    store.search(VECTOR)
    assert len([path for _, path in server.seen if path.endswith("_refresh")]) == 2


def test_a_partial_count_does_not_take_the_replicas_of_a_filled_index_away(opening: Open, server: StandIn, ticking: None) -> None:
    store = opening(settings={"deadline_s": 0.3})
    server.fail("_count", *[Fault(status=200, body=b'{"count":0,"_shards":{"total":3,"failed":1}}')] * 100)
    with pytest.raises(errors.StoreUnavailableError), store.loading():
        pass
    assert server.index is not None
    assert "index.number_of_replicas" not in server.index["settings"]


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(reset=True), Fault(status=200, body=b"{"), Fault(delay_s=0.8)], ids=str)
def test_reads_are_tried_again(opening: Open, server: StandIn, fault: Fault) -> None:
    store = opening(settings=IMPATIENT if fault.delay_s else {})
    store.load(TEN)
    server.fail("_search", fault)
    server.fail("_mget", fault)
    assert len(store.search(VECTOR)) == 10
    assert sorted(store.get(IDS)) == IDS


def test_nobody_there(opening: Open, ticking: None) -> None:
    with pytest.raises(errors.StoreUnavailableError, match=r"cannot reach opensearch\+http://127.0.0.1:1/laws.*given up after"):
        opening(url="opensearch+http://127.0.0.1:1/laws", settings={"deadline_s": 0.3})


def test_an_error_of_no_server_is_not_taken_for_one() -> None:
    with pytest.raises(TypeError):
        read_failure(TypeError("a bug"), "url")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.TransportError(404, "x", {"error": {"type": "index_not_found_exception", "reason": "no such index"}}), "no such index"),
        (exceptions.TransportError(500, "plain\ntext"), "plain text"),
        (exceptions.TransportError(500, {"type": 3}, {"error": "text"}), "status 500"),
        (exceptions.TransportError(302, ""), "redirect"),
        (exceptions.ConnectionError("N/A", "<pool object at 0x7f>: refused", OSError()), "refused"),
    ],
)
def test_reasons_are_one_line(error: Exception, expected: str) -> None:
    message = str(read_failure(error, "url").error)
    assert expected in message
    assert "\n" not in message
    assert "0x7f" not in message


# -- the settings of a load ----------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_restored_do_not_hide_the_error(store: OpenSearchStore, server: StandIn) -> None:
    with pytest.raises(LookupError), store.loading():
        server.fail("_settings", *[Fault(status=403)] * 3)
        raise LookupError
    server.faults.clear()
    assert store.restore_settings()
    assert server.index is not None
    assert server.index["settings"]["index.refresh_interval"] is None


def test_the_note_is_there_whenever_the_settings_are_changed(store: OpenSearchStore, server: StandIn) -> None:
    before = len(server.seen)
    with store.loading():
        pass
    changes = [path.rpartition("/")[2] for method, path in server.seen[before:] if method == "PUT"]
    assert changes == ["_mapping", "_settings", "_settings", "_mapping"]  # a kill between any two of them leaves it restorable


def test_settings_that_cannot_be_restored_are_an_error_of_their_own(store: OpenSearchStore, server: StandIn) -> None:
    with pytest.raises(errors.StoreAccessError), store.loading():
        server.fail("_settings", Fault(status=403))


# -- the event loop ------------------------------------------------------------------------------------------------------


async def test_the_event_loop_goes_on_while_the_server_thinks(store: OpenSearchStore, server: StandIn) -> None:
    server.gate.clear()
    loads = [asyncio.create_task(store.aload([(f"{n}", VECTOR)])) for n in range(3)]
    while len(server.bulks) < 3:  # all three are under way, and this coroutine runs
        await asyncio.sleep(0.01)
    assert not any(task.done() for task in loads)
    server.gate.set()
    assert await asyncio.gather(*loads) == [[], [], []]
    await store.aclose()
    assert len(server.documents) == 3
