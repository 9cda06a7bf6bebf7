"""Calls of a server's client, written once for the blocking and the asynchronous client.

An operation is a generator: it yields the calls it wants made, is sent their answers, and returns its result. What drives it
decides how a call is made; an error of a call is raised inside the operation, which may handle it (split a batch, say).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import SpladeConnectorsError

T = TypeVar("T")
Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client's method.

    Attributes:
        make: makes the call on a client; with an asynchronous one the result is to be awaited.
        read: what is made of the answer, as a part of the attempt: what it raises may be tried again.
        patient: part of a bulk load: worth minutes of retries, where a search has seconds.
        retry: False for a call that may not be made twice.
    """

    make: Callable[[Any], Any]
    read: Callable[[Any], Any] | None = None
    patient: bool = False
    retry: bool = True


Operation = Generator[Call, Any, T]


class _Ended(NamedTuple, Generic[T]):
    result: T


def _advance(operation: Generator[Step, Any, T], answer: Any, error: SpladeConnectorsError | None) -> Step | _Ended[T]:
    try:
        return operation.send(answer) if error is None else operation.throw(error)
    except StopIteration as end:
        return _Ended(end.value)


def drive(operation: Generator[Step, Any, T], perform: Callable[[Step], Any]) -> T:
    """Run an operation, each of its steps done by `perform`."""
    answer: Any = None
    error: SpladeConnectorsError | None = None
    while not isinstance(step := _advance(operation, answer, error), _Ended):
        answer, error = None, None
        try:
            answer = perform(step)
        except SpladeConnectorsError as caught:
            error = caught
    result: T = step.result
    return result


async def drive_async(operation: Generator[Step, Any, T], perform: Callable[[Step], Awaitable[Any]], *, in_threads: bool = False) -> T:
    """The same with steps that are awaited.

    Args:
        in_threads: what the operation does between its steps takes long enough to hold up the event loop: do it in a thread.
    """
    answer: Any = None
    error: SpladeConnectorsError | None = None
    while True:
        step = await asyncio.to_thread(_advance, operation, answer, error) if in_threads else _advance(operation, answer, error)
        if isinstance(step, _Ended):
            result: T = step.result
            return result
        answer, error = None, None
        try:
            answer = await perform(step)
        except SpladeConnectorsError as caught:
            error = caught
