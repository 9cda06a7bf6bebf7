"""Many threads at one local store: the same hits as one after another, each in its turn, and nobody hangs."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import StoreClosedError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Hit, Store
from splade_ptbr_connectors.turns import Turns
from tests.support.encoders import HashingEncoder

pytest.importorskip("numba")
LONG_S = 600.0  # ends a test that would hang
WORDS = ["prazo", "multa", "lei", "recurso", "imposto", "juiz", "gripe", "vacina"]
QUERIES = [f"{one} {other}" for one in WORDS for other in WORDS if one < other]


@pytest.fixture(params=["edge", "numba"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"{request.param}:{tmp_path / 'store'}", encoder=HashingEncoder()) as store:
        texts = [" ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 6)) for number in range(60)]
        store.upsert_vectors([(f"{n}", store.encoder.encode_query(text), {"text": text}) for n, text in enumerate(texts)])
        yield store


@contextmanager
def engine_busy(store: Store) -> Iterator[Turns]:
    """Threads within the block have the turns of all searches of this engine."""
    turns: Turns = importlib.import_module(f"splade_ptbr_connectors.stores.{store.engine}.store")._IN_TURN
    begun, ended = threading.Barrier(turns._permits + 1, timeout=LONG_S), threading.Event()

    @turns
    def stay() -> None:
        begun.wait()
        ended.wait(LONG_S)

    with ThreadPoolExecutor(turns._permits) as pool:
        for _ in range(turns._permits):
            pool.submit(stay)
        begun.wait()
        try:
            yield turns
        finally:
            ended.set()


async def in_line(turns: Turns, waiting: int) -> None:
    """Returns as soon as so many wait, for which the event loop must not be blocked."""
    async with asyncio.timeout(LONG_S):
        while len(turns._line) < turns._permits + waiting:
            await asyncio.sleep(0.001)


def test_twenty_threads_find_what_one_finds(filled: Store) -> None:
    def found(number: int) -> list[list[Hit]]:
        return [filled.search(query, 7) for query in QUERIES[number:] + QUERIES[:number]]

    alone = found(0)
    with ThreadPoolExecutor(20) as pool:
        for number, hits in enumerate(pool.map(found, range(20))):
            assert hits[len(QUERIES) - number :] + hits[: len(QUERIES) - number] == alone


async def test_searches_wait_for_their_turn_beside_the_event_loop(filled: Store) -> None:
    expected = [filled.search(query) for query in QUERIES[:3]]
    with engine_busy(filled) as turns:
        searches = [asyncio.create_task(filled.asearch(query)) for query in QUERIES[:3]]
        await in_line(turns, 3)
        assert not any(search.done() for search in searches)
    assert await asyncio.gather(*searches) == expected


async def test_cancelled_searches_give_their_turns_back(filled: Store) -> None:
    with engine_busy(filled) as turns:
        searches = [asyncio.create_task(filled.asearch(query)) for query in QUERIES[:3]]
        await in_line(turns, 3)
        for search in searches:
            search.cancel()
        assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*searches, return_exceptions=True))
    assert await filled.asearch(QUERIES[0]) == filled.search(QUERIES[0]) != []


async def test_a_store_is_closed_while_searches_wait(filled: Store) -> None:
    with engine_busy(filled) as turns:
        searches = [asyncio.create_task(filled.asearch(query)) for query in QUERIES[:3]]
        await in_line(turns, 3)
        filled.close()
    assert all(isinstance(each, StoreClosedError) for each in await asyncio.gather(*searches, return_exceptions=True))
