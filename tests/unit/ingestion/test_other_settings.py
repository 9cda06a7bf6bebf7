"""From a store into one that splits texts otherwise: the same as loading the input anew, or an error that says why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError, StoreFormatError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.reindex import reindex
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import StandIn, stand_in

pytest.importorskip("numba")
PASSAGES: dict[str, Any] = {
    "long": {"passage_tokens": 40, "overlap": 8},
    "short": {"passage_tokens": 10, "overlap": 2},
    "off": False,
}
CHANGES = list(permutations(PASSAGES, 2))
RECORDS = [
    {"_id": "lei", "title": "Lei", "text": ". ".join(f"Artigo {n} fala do prazo{n} e da multa{n % 7}" for n in range(30)) + "."},
    {"_id": "manual", "title": "Manual", "text": "\n\n".join(f"Passo {n}: veja a multa{n % 5}." for n in range(25)), "passages": ["meu"]},
    {"_id": "nota", "title": "", "text": "texto curto sobre a multa3"},
]
QUERIES = ("prazo17 multa3", "multa3", "passo 20", "curto")
State = tuple[list[Entry], list[list[tuple[str, float, int]]]]


def opened(url: str, passages: Mapping[str, Any] | bool | None) -> Store:
    return open_store(url, encoder=HashingEncoder(), passages=passages)


def state(store: Store) -> State:
    """Every document with all its vectors, and what is found."""
    hits = [store.search(query, 50, group=group) for query in QUERIES for group in (True, False)]
    found = [[(hit.doc_id, round(hit.score, 4), hit.passage.number) for hit in each] for each in hits]
    return sorted(entry._replace(content_hash=None) for entry in store.scan()), found


def texts(store: Store) -> Iterator[dict[str, Any]]:
    """The documents of a store as they were given to it."""
    return ({"_id": entry.doc_id, **entry.payload} for entry in store.scan())


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """What loading the input gives, by settings."""
    found = {}
    for name, passages in PASSAGES.items():
        with opened(f"edge:{tmp_path_factory.mktemp('anew')}/store", passages) as store:
            ingest(RECORDS, store)
            found[name] = state(store)
    assert len({str(each) for each in found.values()}) == len(PASSAGES)
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_reindex_is_what_loading_anew_gives(old: str, new: str, anew: dict[str, State], server: StandIn, tmp_path: Path) -> None:
    url, source = f"qdrant+{server.url}/leis-{old}-{new}", tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    for name in (old, new):
        report = reindex(source, url, encoder=HashingEncoder(), state=tmp_path / "state.json", passages=PASSAGES[name], progress=False)
        assert report.moved and report.verified.ok
        with opened(url, PASSAGES[name]) as store:
            assert state(store) == anew[name]
    with pytest.raises(StoreFormatError, match="but is opened with passages="):
        opened(url, PASSAGES[old])


@pytest.mark.parametrize(("source", "target"), [("numba", "edge"), ("edge", "numba")])
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_the_texts_of_a_store_loaded_into_another_are_what_loading_anew_gives(
    source: str, target: str, old: str, new: str, anew: dict[str, State], tmp_path: Path
) -> None:
    with opened(f"{source}:{tmp_path}/old", PASSAGES[old]) as before, opened(f"{target}:{tmp_path}/new", PASSAGES[new]) as after:
        ingest(RECORDS, before)
        assert ingest(texts(before), after).written == len(RECORDS)
        assert state(after) == anew[new]


@pytest.mark.parametrize(("source", "target"), [("numba", "edge"), ("edge", "numba")])
@pytest.mark.parametrize("name", PASSAGES)
def test_vectors_move_between_stores_of_the_same_settings(
    source: str, target: str, name: str, anew: dict[str, State], tmp_path: Path
) -> None:
    with opened(f"{source}:{tmp_path}/old", PASSAGES[name]) as before, opened(f"{target}:{tmp_path}/new", PASSAGES[name]) as after:
        ingest(RECORDS, before)
        assert ingest(before.scan(), after).written == len(RECORDS)
        assert after.encoder.texts_encoded == 0  # type: ignore[attr-defined]
        assert state(after) == anew[name]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_vectors_are_taken_as_they_are_or_refused_one_by_one(old: str, new: str, anew: dict[str, State], tmp_path: Path) -> None:
    """Nobody encodes again what brings its vectors; a store of whole documents has no place for several."""
    with opened(f"numba:{tmp_path}/old", PASSAGES[old]) as before, opened(f"edge:{tmp_path}/new", PASSAGES[new]) as after:
        ingest(RECORDS, before)
        report = ingest(before.scan(), after)
        if new == "off":
            assert {each["record"][0] if isinstance(each["record"], list) else each["record"]["_id"] for each in report.rejections} == {
                "lei",
                "manual",
            }
            assert all("keeps whole documents: encode it as one" in str(each["reason"]) for each in report.rejections)
            assert [entry.doc_id for entry in after.scan()] == ["nota"]
        else:
            assert state(after) == anew[old]


@pytest.mark.parametrize("name", PASSAGES)
def test_a_reindex_keeps_how_the_old_collection_splits(name: str, anew: dict[str, State], server: StandIn, tmp_path: Path) -> None:
    url, source = f"qdrant+{server.url}/leis-kept-{name}", tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    options: dict[str, Any] = {"encoder": HashingEncoder(), "state": tmp_path / "state.json", "progress": False}
    reindex(source, url, **options, passages=PASSAGES[name])
    assert reindex(source, url, **options).moved
    with opened(url, PASSAGES[name]) as store:
        assert state(store) == anew[name]


def test_a_collection_that_can_hold_no_passages_says_so_and_the_alias_stays(server: StandIn, tmp_path: Path) -> None:
    url, source = f"qdrant+{server.url}/leis-langchain", tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    options: dict[str, Any] = {"encoder": HashingEncoder(), "state": tmp_path / "state.json", "progress": False}
    first = reindex(source, url, **options, passages=PASSAGES["long"])
    with opened(url, None) as store:
        before = state(store)
    for passages in (PASSAGES["short"], None):  # None: those of the old collection
        with pytest.raises(ConfigError, match=r"keeps whole documents only, not passages=.*say passages=False, or leave the layout out"):
            reindex(source, url, **options, settings={"layout": "langchain"}, passages=passages)
    with opened(url, PASSAGES["long"]) as store:
        assert store.identity and state(store) == before
    report = reindex(source, url, **options, settings={"layout": "langchain"}, passages=False)
    assert report.moved and report.previous == first.collection
    with opened(url, None) as store:
        assert store.passage_settings is None and all(not entry.passages for entry in store.scan())
