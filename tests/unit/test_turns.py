"""Lines of threads: who is in, in which order, and that nobody waits for one who has gone."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import turns as turns_module
from splade_ptbr_connectors.turns import Turns

LONG_S = 600.0  # ends a test that would hang


@pytest.fixture(autouse=True)
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "PATIENCE_S", 10 * LONG_S)


class Room:
    """A function that takes turns: who is called is inside until let go."""

    def __init__(self, permits: int) -> None:
        self.permits, self.entered = permits, list[int]()
        self.turns = Turns(permits)
        self._leave = [threading.Event() for _ in range(20)]
        self._threads = list[threading.Thread]()
        self.call = self.turns(self._stay)

    def _stay(self, number: int) -> None:
        self.entered.append(number)
        assert self._leave[number].wait(LONG_S)

    def comes(self, number: int) -> None:
        """Another thread, which stands in line or is inside when this returns."""
        before = len(self.turns._line)
        self._threads.append(threading.Thread(target=self.call, args=(number,), daemon=True))
        self._threads[-1].start()
        until(lambda: len(self.turns._line) > before)

    def leaves(self, number: int) -> None:
        """One that is inside."""
        self._leave[number].set()
        self._threads[number].join(LONG_S)
        assert not self._threads[number].is_alive()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def check_whole(turns: Turns, permits: int) -> None:
    """As many threads as there are permits meet inside, and no more."""
    assert not [ticket for ticket in turns._line if ticket.held.locked()]
    meeting, inside, most = threading.Barrier(permits, timeout=LONG_S), list[int](), list[int]()

    @turns
    def met(number: int) -> None:
        inside.append(number)
        most.append(len(inside))
        meeting.wait()
        inside.remove(number)

    with ThreadPoolExecutor(3 * permits) as pool:
        list(pool.map(met, range(3 * permits)))
    assert max(most) <= permits and len(most) == 3 * permits


@pytest.mark.parametrize("permits", [1, 2, 5])
def test_as_many_as_there_are_permits_are_inside(permits: int) -> None:
    check_whole(Turns(permits), permits)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 1000))
def test_they_enter_in_the_order_in_which_they_came(permits: int, threads: int, seed: int) -> None:
    room, chance = Room(permits), random.Random(seed)
    for number in range(threads):
        room.comes(number)
    for gone in range(threads):
        expected = list(range(min(threads, permits + gone)))
        until(lambda held=expected: len(room.entered) == len(held))
        assert sorted(room.entered[:permits]) == expected[:permits] and room.entered[permits:] == expected[permits:]
        inside = [number for number in expected if not room._leave[number].is_set()]
        room.leaves(chance.choice(inside))
    assert room.turns._line == []


def test_arguments_results_and_errors_pass() -> None:
    @Turns(1)
    def divided(one: int, *, by: int) -> float:
        """Says so."""
        return one / by

    assert divided(3, by=2) == 1.5 and divided.__doc__ == "Says so."
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            divided(1, by=0)
    assert divided(1, by=1) == 1


def test_a_call_within_a_call_does_not_wait() -> None:
    turns = Turns(1)

    @turns
    def factorial(of: int) -> int:
        return of * factorial(of - 1) if of else 1

    @turns
    def both() -> tuple[int, int]:
        return factorial(3), factorial(4)

    assert both() == (6, 24)
    check_whole(turns, 1)


def test_what_interrupts_one_who_leaves_does_not_stand_in_line() -> None:
    """The others, for whom it would wait, cannot leave before the interrupted one goes on."""

    class Interrupted(Turns):
        arrivals = 0

        def _move_up(self, *arriving: turns_module._Ticket) -> None:
            self.arrivals += len(arriving)
            with self._moving:
                if not arriving and len(results) == 0:
                    results.append(call(3))
                super()._move_up(*arriving)

    results, turns = list[int](), Interrupted(1)
    call = turns(int)
    assert call(2) == 2 and results == [3]
    assert turns.arrivals == 1
    check_whole(turns, 1)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(1)
    room.comes(0)
    monkeypatch.setattr(turns_module, "PATIENCE_S", 0.0)
    room.comes(1)
    until(lambda: room.entered == [0, 1])
    monkeypatch.setattr(turns_module, "PATIENCE_S", LONG_S)
    room.comes(2)
    room.leaves(1)  # went ahead; its leaving makes no room
    room.comes(3)
    assert room.entered == [0, 1]
    for number in (0, 2, 3):
        room.leaves(number)
    assert room.entered == [0, 1, 2, 3]


class StruckError(Exception):
    """What a signal raises here, as Ctrl-C raises KeyboardInterrupt."""


def strike(after_s: float, doing: Callable[[], object]) -> None:
    """Raise StruckError in what is done for ever, wherever it is after so many seconds of clock."""
    struck = False

    def raise_error(number: int, frame: FrameType | None) -> None:
        if not struck:
            raise StruckError

    before = signal.signal(signal.SIGALRM, raise_error)
    gc.disable()  # what is raised in its callbacks is lost
    try:
        signal.setitimer(signal.ITIMER_REAL, after_s, 1.0)  # again where a strike was lost all the same
        while True:
            doing()
    except StruckError:
        struck = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, before)


needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that strike on this system")


@needs_signals
@pytest.mark.parametrize("permits", [1, 2])
def test_whatever_is_struck_leaves_no_place_taken(permits: int) -> None:
    turns, chance = Turns(permits), random.Random(permits)
    call = turns(int)
    for _ in range(500):
        strike(chance.uniform(1e-6, 2e-4), call)
        turns._move_up()
        assert turns._line == []
    check_whole(turns, permits)


@needs_signals
@pytest.mark.parametrize("permits", [1, 2])
def test_others_go_on_where_one_is_struck(permits: int) -> None:
    turns, chance, ended = Turns(permits), random.Random(permits), threading.Event()
    call = turns(int)

    def go_on() -> None:
        while not ended.is_set():
            call()

    others = [threading.Thread(target=go_on) for _ in range(permits)]
    for other in others:
        other.start()
    for _ in range(100):
        strike(chance.uniform(1e-6, 2e-4), call)
        call()
    ended.set()
    turns._move_up()
    for other in others:
        other.join(LONG_S)
        assert not other.is_alive()
    check_whole(turns, permits)


@needs_signals
def test_one_who_is_struck_while_waiting_gives_up_its_place_and_no_other() -> None:
    room = Room(2)
    for number in range(3):
        room.comes(number)
    strike(0.01, lambda: room.call(19))
    room.comes(3)
    assert sorted(room.entered) == [0, 1]
    for gone, entered in ((1, [2]), (0, [2, 3])):
        room.leaves(gone)
        until(lambda held=entered: room.entered[2:] == held)
    for number in (2, 3):
        room.leaves(number)
    check_whole(room.turns, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_waits_for_none_of_its_parents_threads() -> None:
    room = Room(1)
    room.comes(0)
    room.comes(1)
    with room.turns._moving:  # another thread may hold it at that moment
        child = os.fork()
        if not child:
            room._leave[2].set()
            room.call(2)
            os._exit(0 if room.entered == [0, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    room.leaves(0)
    room.leaves(1)
    assert room.entered == [0, 1]
