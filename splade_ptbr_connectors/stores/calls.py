"""Calls of a server's client, written once for the blocking and the asynchronous client.

An operation is a generator: it yields the calls it wants made, is sent their answers, and returns its result. What drives it
decides how a call is made; a StoreError of a call is raised inside the operation, which may handle it (split a batch, say).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import StoreError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client's method.

    Attributes:
        name: the method, with dots for the parts of a client, such as "indices.create".
        arguments: its keyword arguments.
        patient: part of a bulk load: worth minutes of retries, where a search has seconds.
        retry: False for a call that may not be made twice.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    patient: bool = False
    retry: bool = True

    def on(self, client: Any) -> Any:
        """Make the call; with an asynchronous client the result is to be awaited."""
        method = client
        for part in self.name.split("."):
            method = getattr(method, part)
        return method(**self.arguments)


Operation = Generator[Call, Any, T]


def drive(operation: Operation[T], perform: Callable[[Call], Any]) -> T:
    """Run an operation, each of its calls made by `perform`."""
    answer, error = None, None
    while True:
        try:
            call = operation.send(answer) if error is None else operation.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        answer, error = None, None
        try:
            answer = perform(call)
        except StoreError as caught:
            error = caught


async def drive_async(operation: Operation[T], perform: Callable[[Call], Awaitable[Any]]) -> T:
    """The same with calls that are awaited."""
    answer, error = None, None
    while True:
        try:
            call = operation.send(answer) if error is None else operation.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        answer, error = None, None
        try:
            answer = await perform(call)
        except StoreError as caught:
            error = caught
