"""Turns: no more than so many threads at a time within a function, in the order in which they came.

Threads that compute at once contend for the interpreter lock: each time one gives it up, for a kernel or a read of a file, it gets
it back only after another has had it for up to 5 ms, and whom the system wakes next is left to chance. In line, each waits once.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_S = 5.0  # then a thread goes ahead: order is a courtesy, and nothing may hang for it


class Turns:
    """A decorator. Threads that call what it decorates, one function or several, stand in one line; calls within a call do not.

    It lives as long as the process. A forked child begins with an empty line.
    """

    def __init__(self, permits: int) -> None:
        """`permits`: how many threads have their turn at once."""
        self._permits = permits
        self._own = threading.local()
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def in_turn(*arguments: P.args, **named: P.kwargs) -> T:
            own: _Ticket | None = getattr(self._own, "ticket", None)
            if own is not None and (own.held.locked() or own.leaving.locked()):
                return function(*arguments, **named)
            ticket = self._own.ticket = _Ticket()
            try:
                with ticket.held:
                    self._move_up(ticket)
                    ticket.called.acquire(timeout=PATIENCE_S)
                    return function(*arguments, **named)
            finally:
                with ticket.leaving:
                    self._move_up()

        return in_turn

    def _begin(self) -> None:
        self._moving = threading.RLock()  # a signal or the garbage collector may call from within
        self._line: list[_Ticket] = []  # in order of arrival: the first ones have their turn

    def _move_up(self, *arriving: _Ticket) -> None:
        """Leave out those who have left, and call those whose turn it is.

        Whoever is interrupted before this leaves it to the next one who comes or goes.
        """
        with self._moving:
            self._line = [ticket for ticket in (*self._line, *arriving) if ticket.held.locked()]
            for ticket in self._line[: self._permits]:
                if ticket.called.locked():
                    ticket.called.release()


class _Ticket:
    """The place of a thread in the line.

    Attributes:
        held: locked for as long as the thread waits or has its turn. Entering and leaving a lock's block are single steps, between
            which no interrupt comes: no place stays taken by one who has gone.
        called: locked until it is its turn.
        leaving: locked while its thread calls the next ones. What interrupts that and calls again must not wait for them: they
            cannot leave meanwhile.
    """

    __slots__ = ("called", "held", "leaving")

    def __init__(self) -> None:
        self.held, self.called, self.leaving = threading.Lock(), threading.Lock(), threading.Lock()
        self.called.acquire()
