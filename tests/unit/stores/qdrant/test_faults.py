"""What a server or the way to it does to a load or a search: nothing lost, nothing doubled, and the right error."""

from __future__ import annotations

import asyncio
import email.utils
import socket
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import Fault, StandIn
from tests.unit.stores.qdrant.conftest import Open

ENTRIES = [Entry(f"d{n}", SparseVector([1, 2 + n], [1.0, 0.5]), {"n": n}, f"{n:032x}") for n in range(40)]
QUERY = SparseVector([1], [1.0])
ACKNOWLEDGED = b'{"result":{"operation_id":7,"status":"acknowledged"},"status":"ok","time":0.0}'
PASSING = {
    "429 with seconds": Fault(429, headers={"Retry-After": "0"}),
    "429 with a date": Fault(429, headers={"Retry-After": email.utils.formatdate(usegmt=True)}),
    "429 alone": Fault(429),
    "502 of a proxy": Fault(502, b"<html>Bad Gateway</html>"),
    "503": Fault(503),
    "504": Fault(504),
    "408 of the server": Fault(408),
    "reset before": Fault(reset=True),
    "reset after it was applied": Fault(reset=True, after=True),
    "503 after it was applied": Fault(503, after=True),
    "no JSON": Fault(200, b"{", after=True),
    "no text": Fault(200, b"\xff\xfe\x00", after=True),
    "acknowledged, not applied": Fault(200, ACKNOWLEDGED),
    "cut off": Fault(200, b"{}", headers={"Content-Length": "100"}, after=True),
}


def assert_complete(store: QdrantStore) -> None:
    assert store.count() == len(ENTRIES)
    assert store.get([entry.doc_id for entry in ENTRIES]) == {entry.doc_id: entry for entry in ENTRIES}


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
def test_a_load_survives_what_passes(opening: Open, server: StandIn, name: str, asynchronous: bool) -> None:
    store = opening(query="?timeout_s=5")
    server.faults = [PASSING[name], PASSING[name]] if name != "cut off" else []
    if name == "cut off":  # http.server would wait for the rest: the connection ends instead
        server.faults = [Fault(200, b'{"result"', headers={"Content-Length": "500", "Connection": "close"}, after=True)]
    if asynchronous:
        asyncio.run(_aload(store))
    else:
        assert store.load(ENTRIES) == []
    assert not server.faults
    assert_complete(store)


async def _aload(store: QdrantStore) -> None:
    assert await store.aload(ENTRIES) == []
    await store._connection.async_clients.pop(asyncio.get_running_loop()).close()


def test_a_load_survives_a_time_out_after_it_was_applied(opening: Open, server: StandIn) -> None:
    store = opening(query="?timeout_s=1")
    server.faults = [Fault(delay_s=2.0)]
    assert store.load(ENTRIES) == []
    assert_complete(store)


@pytest.mark.parametrize("name", ["429 with seconds", "503", "reset before", "no JSON"])
def test_a_search_survives_what_passes(store: QdrantStore, server: StandIn, name: str) -> None:
    store.load(ENTRIES)
    server.faults = [PASSING[name]]
    assert len(store.search(QUERY, 100)) == len(ENTRIES)
    assert not server.faults


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"", errors.StoreAccessError),
        (403, b'{"status":{"error":"Forbidden: no write access"}}', errors.StoreAccessError),
        (403, b"<html>Forbidden</html>", errors.StoreAccessError),
        (403, b'{"status":{"error":"Storage locked: backup until noon"}}', errors.StoreWriteError),
        (403, b'{"status":{"error":"Storage locked: Write operations are forbidden"}}', errors.StoreWriteError),
        (507, b'{"status":{"error":"Insufficient storage"}}', errors.StoreWriteError),
        (404, b'{"status":{"error":"Not found: Collection `laws` doesn\'t exist!"}}', errors.StoreNotFoundError),
        (500, b'{"status":{"error":"Service internal error: broken"}}', errors.StoreUnavailableError),
        (500, b'{"status":{"error":"No space left on device (os error 28)"}}', errors.StoreWriteError),
        (400, b'{"status":{"error":"Wrong input: Not existing vector name error: splade"}}', errors.StoreFormatError),
    ],
)
def test_what_does_not_pass_is_not_tried_again(store: QdrantStore, server: StandIn, status: int, body: bytes, error: Any) -> None:
    server.faults = [Fault(status, body)]
    before = len(server.seen)
    with pytest.raises(error) as caught:
        store.load(ENTRIES[:1])
    assert len(server.seen) == before + 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"status":{"error":"Forbidden: Global access is required"}}',
            r"forbids this \(403: Forbidden: Global access.*API_KEY.*the proxy",
        ),
        (b'{"status":{"error":"Storage locked: backup until noon"}}', r"locked against writing \(403: Storage locked: backup until noon"),
    ],
)
def test_403_says_what_the_server_says(store: QdrantStore, server: StandIn, body: bytes, message: str) -> None:
    """A locked server has nothing to do with credentials, and a key that may not write has nothing to do with locks."""
    server.faults = [Fault(403, body)]
    with pytest.raises(errors.StoreError, match=message) as caught:
        store.load(ENTRIES)
    assert ("API_KEY" in str(caught.value)) == isinstance(caught.value, errors.StoreAccessError)
    assert store.count() == 0


def test_a_collection_deleted_in_mid_run_is_not_made_anew(store: QdrantStore, server: StandIn) -> None:
    store.load(ENTRIES[:20])
    server.client.delete_collection("laws")
    for use in (lambda: store.load(ENTRIES[20:]), store.count, lambda: store.search(QUERY), lambda: store.delete(["d1"])):
        with pytest.raises(errors.StoreNotFoundError, match="there is no store at"):
            use()
    assert [found.name for found in server.client.get_collections().collections] == []


def test_a_request_too_large_is_halved_and_a_single_document_refused(opening: Open, server: StandIn) -> None:
    store = opening()
    server.max_body_bytes = 900
    refusals = store.load([*ENTRIES, ("huge", QUERY, {"text": "x" * 2000})])
    assert [refusal.doc_id for refusal in refusals] == ["huge"]
    assert "larger than allowed" in refusals[0].reason
    server.max_body_bytes = 2**20
    assert_complete(store)


@pytest.mark.parametrize("fault", [Fault(413, b"too much"), Fault(413, b"")])
def test_a_413_halves(store: QdrantStore, server: StandIn, fault: Fault) -> None:
    server.faults = [fault]
    assert store.load(ENTRIES) == []
    assert server.count_of("PUT", "/points") == 3
    assert_complete(store)


def test_batches_are_sent_in_parts_of_the_wanted_size(opening: Open, server: StandIn) -> None:
    store = opening(query="?max_request_bytes=2000")
    assert store.load([Entry(f"d{n}", QUERY, {"text": "palavra " * 50}) for n in range(20)]) == []
    bodies = [len(seen.body) for seen in server.seen if seen.method == "PUT" and seen.path.endswith("/points")]
    assert len(bodies) > 5
    assert max(bodies) < 2600


def test_a_refused_document_does_not_take_its_batch_with_it(store: QdrantStore, server: StandIn) -> None:
    server.refuse = "cursed"
    bad = [Entry(f"bad{n}", QUERY, {"cursed": n}) for n in range(2)]
    refusals = store.load([*ENTRIES[:13], bad[0], *ENTRIES[13:], bad[1]])
    assert sorted(refusal.doc_id for refusal in refusals) == ["bad0", "bad1"]
    assert all("has the field 'cursed'" in refusal.reason for refusal in refusals)
    assert_complete(store)
    with pytest.raises(errors.StoreRefusedError, match="refused 2 documents"):
        store.upsert_vectors([*ENTRIES, *bad])


def test_the_last_of_a_batch_wins_also_when_it_is_halved(store: QdrantStore, server: StandIn) -> None:
    server.faults = [Fault(413), Fault(413)]
    store.load([Entry("same", QUERY, {"n": n}) for n in range(8)])
    assert store.get(["same"])["same"].payload == {"n": 7}
    assert store.count() == 1


def test_giving_up_says_how_often_it_was_tried(opening: Open, server: StandIn, ticking: None) -> None:
    store = opening(query="?load_deadline_s=0.2&deadline_s=0.1")
    server.faults = [Fault(503) for _ in range(100_000)]
    with pytest.raises(errors.StoreUnavailableError, match=r"answered 503 \(made up\).*given up after \d+ attempts"):
        store.load(ENTRIES)
    with pytest.raises(errors.StoreUnavailableError, match="given up after"):
        store.search(QUERY)


def test_a_server_that_is_gone_is_unavailable_and_one_that_comes_back_is_used(opening: Open, server: StandIn) -> None:
    store = opening(query="?deadline_s=0.2")
    server.close()
    with pytest.raises(errors.StoreUnavailableError, match="Check address and port"):
        store.count()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid:6333"])
def test_nobody_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "invalid" in address:  # nobody is asked for the name: what a resolver says, and when, is its own affair
        monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    with pytest.raises(errors.StoreUnavailableError, match="cannot be used"):
        open_store(f"qdrant+{address}/laws?deadline_s=0.3", encoder=HashingEncoder())


def unknown_host(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("body", [b'{"result":{"what":1}}', b"[]", b'"hello"', b"<html></html>"])
def test_a_server_that_is_none_of_qdrant(server: StandIn, body: bytes) -> None:
    server.faults = [Fault(200, body) for _ in range(10_000)]
    with pytest.raises(errors.StoreError, match="cannot be used"):
        open_store(f"qdrant+{server.url}/laws?deadline_s=0.2", encoder=HashingEncoder())


def test_a_redirect_is_not_followed(store: QdrantStore, server: StandIn) -> None:
    server.faults = [Fault(307, headers={"Location": f"{server.url}/collections/other/points"})]
    with pytest.raises(errors.StoreError):
        store.load(ENTRIES[:1])
    assert not any(seen.path == "/collections/other/points" for seen in server.seen)


def test_several_loads_at_once(opening: Open, server: StandIn) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = opening()
    server.faults = [Fault(503) for _ in range(5)] + [Fault(reset=True) for _ in range(5)]
    with ThreadPoolExecutor(store.max_in_flight) as pool:
        assert not any(pool.map(store.load, [ENTRIES[start : start + 4] for start in range(0, 40, 4)]))
    assert_complete(store)
